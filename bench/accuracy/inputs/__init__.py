"""The inputs of classifiers: batches of audio, and their features from frozen encoders."""
