"""The AWS stack: what it is made of, whether that is there, and how it is registered."""
