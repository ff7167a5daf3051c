"""Medical image classifiers that are trained, evaluated and served by one prediction path."""

__version__ = "0.1.0"
