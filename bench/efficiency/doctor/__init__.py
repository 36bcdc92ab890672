"""Known answers: what a machine measures right, and the smallest difference it can tell."""
