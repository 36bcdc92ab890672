"""Imports what the children's server is to have imported: all that takes seconds and initialises no GPU.

Where there is a GPU, that includes what flash-linear-attention imports, though not the library itself, which asks the
GPU for its name at once.
"""

import contextlib
import gc
import importlib
import signal
import threading
from pathlib import Path

_OF_THE_LIBRARY = "torch._dynamo", "transformers.processing_utils"

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command; the server ignores it only after this
gc.disable()  # importing takes a seventh less without
for name in ("bench.efficiency.worker", *(_OF_THE_LIBRARY if Path("/proc/driver/nvidia").exists() else ())):
    importlib.import_module(name)
with contextlib.suppress(ImportError):  # by which PyTorch's compiler shows its progress, where it is installed
    # Its own lock is a semaphore, which a child that is killed would leave for Python to complain of.
    importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
gc.freeze()  # no collection in a child need look at any of it
gc.enable()
