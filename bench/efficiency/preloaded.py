"""Imports what the children's server is to have imported: all that takes seconds and initialises no GPU.

Where there is a GPU, that includes what flash-linear-attention imports, though not the library itself, which asks the
GPU for its name at once.
"""

import gc
import importlib
import signal
from pathlib import Path

_OF_THE_LIBRARY = "torch._dynamo", "transformers.processing_utils"

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command; the server ignores it only after this
gc.disable()  # importing takes a seventh less without
for name in ("bench.efficiency.worker", *(_OF_THE_LIBRARY if Path("/proc/driver/nvidia").exists() else ())):
    importlib.import_module(name)
gc.freeze()  # no collection in a child need look at any of it
gc.enable()
