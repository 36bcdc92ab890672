"""Code during which Python collects no garbage."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collecting_no_garbage() -> Iterator[None]:
    """Within the context, let Python run no collection by itself; afterwards it is as before.

    A collection takes time. While a CUDA graph is captured, it can also do harm: it may destroy an older graph. CUDA
    forbids that there, and the capture fails.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
