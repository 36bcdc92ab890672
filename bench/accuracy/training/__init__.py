"""The classifier and its training."""
