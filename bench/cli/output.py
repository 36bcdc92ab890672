"""Standard output: JSON for programs, and one rule for all commands where it cannot be written.

A reader that has seen enough, such as `head`, ends the command quietly, with the exit code of SIGPIPE. A full disk ends
it with one line.
"""

import contextlib
import dataclasses
import errno
import math
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


@contextlib.contextmanager
def checked() -> Iterator[None]:
    """Let the command end as soon as its standard output cannot be written, in the block."""
    if sys.stdout is None:  # closed by `>&-`
        yield
        return
    output = _Output(sys.stdout)
    with contextlib.redirect_stdout(cast(TextIO, output)):
        try:
            yield
        finally:
            output.flush()


def print_json(value: Any) -> None:
    """Print a value, or a dataclass, as JSON. Infinite numbers, and what is not a number, are null."""
    import json

    print(json.dumps(_plain(value), indent=1, allow_nan=False, default=str))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Output:
    """A stream that ends the process where it cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._ending():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._ending():
            self._stream.flush()

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with open(os.devnull, "w") as nowhere:  # takes what is still in the buffer
                os.dup2(nowhere.fileno(), self._stream.fileno())
            if error.errno == errno.EPIPE:
                sys.exit(128 + signal.SIGPIPE)
            print(f"sbench: standard output cannot be written: {error.strerror}", file=sys.stderr)
            sys.exit(1)
