"""Keeps two processes from writing one folder at the same time.

The lock belongs to a process, so the kernel releases it however that ends. Children that the process forked do not keep
it. `.lock` in the folder says who holds it, and stays after a kill, when it holds nothing. File systems without locks
let everyone write, as if there were none.
"""

import contextlib
import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from mixers.support.errors import UserError

LOCK_FILE = ".lock"

_HINT = "Wait until it ends, or end it."
_PATIENCE_S = 0.2  # `holder` takes the lock for a moment
_HELD = (errno.EAGAIN, errno.EACCES)  # every other error means that the file system has no locks


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only process that writes a folder, in the block.

    Raises:
        UserError: Another process does, or the folder does not exist or cannot be written.
    """
    path = folder / LOCK_FILE
    try:
        file = _locked(path, until_s=time.monotonic() + _PATIENCE_S)
    except FileNotFoundError:
        raise UserError(f"no such folder: {folder}", hint="Give a folder that sbench made.") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from None
    if file is None:
        raise UserError(being_written(folder, holder(folder) or "another process"), hint=_HINT)
    with file:
        since = datetime.now().astimezone().isoformat(timespec="seconds", sep=" ")
        with contextlib.suppress(OSError):  # a full disk: then nobody knows who it is
            file.truncate(0)
            file.write(json.dumps({"process": os.getpid(), "host": platform.node(), "since": since}))
            file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def holder(folder: Path) -> str:
    """Return which process writes a folder, in words; empty if none does.

    Do not call it for a folder that this process writes: that would release its lock.
    """
    try:
        with (folder / LOCK_FILE).open(encoding="utf-8") as file:
            if _try(file, fcntl.LOCK_SH):
                return ""
            text = file.read()
    except OSError:
        return ""
    try:
        fields = json.loads(text)
        return f"process {fields['process']} on {fields['host']} since {fields['since']}"
    except (ValueError, KeyError, TypeError):  # it has just begun, or could not write
        return "another process"


def being_written(folder: Path, who: str) -> str:
    """Return the message about a folder that another process writes."""
    return f"{folder} is being written by {who}"


def _locked(path: Path, *, until_s: float) -> IO[str] | None:
    """Open a lock file and lock it; return None if another process holds it until then."""
    while True:
        file = path.open("a", encoding="utf-8")
        if _try(file, fcntl.LOCK_EX):
            if os.fstat(file.fileno()).st_nlink:
                return file
            file.close()  # its last owner has just removed it
            continue
        file.close()
        if time.monotonic() > until_s:
            return None
        time.sleep(0.02)


def _try(file: IO[str], kind: int) -> bool:
    """Lock a file if no other process holds it, and tell whether that is so."""
    try:
        fcntl.lockf(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True
