"""The speed figures of the README, side by side with what people would use instead."""
