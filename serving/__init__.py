"""HTTP around a classifier: how requests are read, limited, counted and answered."""
