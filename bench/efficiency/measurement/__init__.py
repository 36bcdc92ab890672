"""Time and memory of one call, its limits, and the conditions it ran under."""
