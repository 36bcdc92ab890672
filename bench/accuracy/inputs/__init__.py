"""What classifiers learn from: batches of audio, and their features by frozen encoders."""
