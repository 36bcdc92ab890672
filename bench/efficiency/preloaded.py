"""Imports for the server that children are forked from: everything that takes seconds and initialises no GPU.

With a GPU this includes what flash-linear-attention imports. The library itself is left out, since its import asks the
GPU for its name.
"""

import contextlib
import gc
import importlib
import threading
from pathlib import Path

_IMPORTS_OF_FLA = "torch._dynamo", "transformers.processing_utils"

gc.disable()  # importing takes a seventh less time without
for name in ("bench.efficiency.worker", *(_IMPORTS_OF_FLA if Path("/proc/driver/nvidia").exists() else ())):
    importlib.import_module(name)
with contextlib.suppress(ImportError):  # PyTorch's compiler shows its progress with tqdm, if it is installed
    # Its default lock is a semaphore. A child that is killed would leak it, and Python would warn.
    importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
gc.freeze()  # collections in children need not look at these objects
gc.enable()
