"""Long recordings, composed of short ones: what a mixer is worth in minutes of speech."""
