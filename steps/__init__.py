"""The steps of the pipelines: each reads artifacts, calls the library and returns artifacts."""
