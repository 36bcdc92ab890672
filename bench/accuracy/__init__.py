"""What a mixer is good for: emotion recognition trained with it, on corpora of speech."""
