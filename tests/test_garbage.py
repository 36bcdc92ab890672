"""Where Python collects no garbage."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from bench.garbage import collecting_no_garbage


class Loop:
    """Garbage that only a collection frees, once it is dropped."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def _collecting_often() -> Iterator[None]:
    """Let Python collect young garbage whenever an object is made."""
    usual = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*usual)


@pytest.mark.usefixtures("_collecting_often")
def test_nothing_is_collected_within_and_all_as_before_after_it() -> None:
    with pytest.raises(ValueError, match="failed"), collecting_no_garbage():  # noqa: PT012
        dropped = weakref.ref(Loop())
        kept = [[number] for number in range(1000)]
        with collecting_no_garbage():
            pass
        kept += [[number] for number in range(1000)]
        assert dropped() is not None
        raise ValueError("failed")
    kept += [[number] for number in range(1000)]
    assert dropped() is None


def test_where_collections_were_off_they_stay_off() -> None:
    gc.disable()
    try:
        with collecting_no_garbage():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
