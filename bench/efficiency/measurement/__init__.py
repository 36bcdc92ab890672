"""Time and memory of one call, and the conditions it ran under."""
