"""Medical image classifiers that are trained, evaluated and served by one prediction path."""
