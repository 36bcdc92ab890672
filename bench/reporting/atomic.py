"""Writing a file whole or not at all, so that no reader ever meets half a report."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under another name in the same folder, then rename it; an older file stays until then.

    Raises:
        OSError: The file cannot be written; what was at ``path`` before is still there.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
