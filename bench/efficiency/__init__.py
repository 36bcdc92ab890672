"""What a mixer costs: latency and memory over the length of the audio."""

import os

# PyTorch's profiler reports each start and stop on the terminal; it reads this once, when torch is loaded.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
