"""What Ctrl-C, SIGTERM (of Slurm) and SIGHUP (of a closed terminal) do: a command ends in one line.

Most of a command has nothing to lose, so a signal ends it at once, also while libraries are imported, which would turn
an exception into another one. Where there is something to keep, `interruptible` lets a signal raise KeyboardInterrupt.
The exit code is 128 plus the signal's number, as shells report it.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

_LINES = {
    signal.SIGINT: "sbench: interrupted",
    signal.SIGTERM: "sbench: ended by SIGTERM",
    signal.SIGHUP: "sbench: ended by SIGHUP",
}

# Signals that follow so soon are ignored: those of one impatient user or of one system. A command that has been
# interrupted has longer to keep its results.
_SAME_WISH_S = 1.0
_CLOSING_S = 10.0


# A destructor that was running has ended by then.
_AGAIN_AFTER_S = 0.05


class _State:
    received = 0  # the number of the last signal
    at_s = -float("inf")
    raising = False
    ignored = False  # Python ignored the KeyboardInterrupt, as it does in a destructor


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Handle the signals in the block, except those that are ignored, as with nohup."""
    old = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [number for number in _LINES if signal.getsignal(number) is not signal.SIG_IGN]
        old = {number: signal.signal(number, _handle) for number in numbers}
    _State.received = 0
    hook, sys.unraisablehook = sys.unraisablehook, lambda ignored: _notice(ignored, otherwise=hook)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal raise KeyboardInterrupt out of the block, whatever a library within makes of it."""
    _State.raising = True
    try:
        yield
    except Exception:
        if _State.received:
            raise KeyboardInterrupt from None
        raise
    finally:
        _State.raising = _State.ignored = False


def _notice(ignored: "sys.UnraisableHookArgs", *, otherwise: Callable[["sys.UnraisableHookArgs"], object]) -> None:
    """Send a signal again soon if Python ignores its exception, as in the destructor that ends PyTorch's readers.

    Other exceptions that Python ignores after a signal are not said: readers of audio that got it too have ended.
    """
    if not _State.received:
        otherwise(ignored)
    elif ignored.exc_type is KeyboardInterrupt and _State.raising:
        _State.ignored = True
        timer = threading.Timer(_AGAIN_AFTER_S, _send_again)
        timer.daemon = True
        timer.start()


def _send_again() -> None:
    if _State.ignored:
        os.kill(os.getpid(), _State.received)


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """End the process at once if the block exits because of a signal.

    Destructors that run later would say that PyTorch's readers of audio, which got the signal too, have ended.
    """
    try:
        yield
    except SystemExit as end:
        if line_of(end.code):
            _leave(int(end.code or 0))
        raise


def exit_code() -> int:
    """Return the exit code after a signal; that of Ctrl-C if none was received."""
    return 128 + (_State.received or signal.SIGINT)


def line_of(code: object) -> str:
    """Return what is said at an exit with this code; empty if no signal caused it."""
    return {128 + number: line for number, line in _LINES.items()}.get(code, "") if isinstance(code, int) else ""


def _handle(number: int, _frame: FrameType | None) -> None:
    closing = _State.received and not _State.raising
    recent = time.monotonic() - _State.at_s < (_CLOSING_S if closing else _SAME_WISH_S)
    if _State.received and recent and not _State.ignored:
        return
    _State.ignored = False
    _State.received, _State.at_s = number, time.monotonic()
    if _State.raising:
        raise KeyboardInterrupt
    _end(number)


def _end(number: int) -> None:
    """Say what ends the process, and end it at once."""
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides it
    with contextlib.suppress(OSError):
        os.write(2, f"{show_cursor}\n{_LINES[signal.Signals(number)]}\n".encode())
    _leave(128 + number)


def _leave(code: int) -> None:
    """End the process without destructors. Its children notice and end too."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, SystemExit):  # a pipe may be closed
            stream.flush()
    os._exit(code)
