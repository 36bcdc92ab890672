"""What a mixer costs: latency and memory over the length of the audio."""
