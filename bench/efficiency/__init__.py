"""Measures latency and memory of mixers over the length of the audio."""

import os

# Otherwise PyTorch's profiler prints each start and stop. It reads this variable once, when torch is loaded.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
