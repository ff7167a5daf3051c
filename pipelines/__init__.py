"""The pipelines: wiring only."""
