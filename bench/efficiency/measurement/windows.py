"""Clean windows: samples are taken in short windows. A window in which anything else happened is void and repeated.

These events would be measured as the mixer's time: a compilation, a search among a kernel's configurations or a matrix
library's algorithms, a garbage collection, a call of the allocator to the driver, and a drop of the clock.
"""

import dataclasses
import gc
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from bench.efficiency.measurement.criterion import Criterion, Stop, median_error
from bench.garbage import collecting_no_garbage
from mixers import autotuning

_MOST_VOID_WINDOWS = 20  # after these the series ends


@dataclass(frozen=True, kw_only=True)
class Events:
    """How often each event happened that does not belong in a timed window."""

    compilations: int = 0
    autotunings: int = 0
    algorithm_searches: int = 0
    garbage_collections: int = 0
    device_allocations: int = 0
    clock_drops: int = 0
    queue_gaps: int = 0

    def __add__(self, other: "Events") -> "Events":
        return Events(**{name: getattr(self, name) + getattr(other, name) for name in EVENTS})

    def __sub__(self, other: "Events") -> "Events":
        return Events(**{name: getattr(self, name) - getattr(other, name) for name in EVENTS})

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in EVENTS)


EVENTS = tuple(field.name for field in dataclasses.fields(Events))


@dataclass(frozen=True, kw_only=True)
class Window:
    """The samples of one short stretch of time.

    Attributes:
        samples_ms: Times in the order in which they were taken.
        issue_ms: The time the host took to issue each call; empty if it was not taken.
        queue_gaps: How many samples were left out because the launch queue ran empty.
    """

    samples_ms: Sequence[float]
    issue_ms: Sequence[float] = ()
    queue_gaps: int = 0


@dataclass(frozen=True, kw_only=True)
class Series:
    """Samples of one quantity, in ms and in the order in which they were taken, and what happened meanwhile.

    Attributes:
        samples_ms: Those of the clean windows; `collect` says when others count.
        issue_ms: The time the host took to issue each call, or empty.
        stop: Why there are no more samples.
        events: What happened in the void windows.
        void_samples: How many samples were in void windows or were left out.
    """

    samples_ms: tuple[float, ...]
    issue_ms: tuple[float, ...]
    stop: Stop
    events: Events
    void_samples: int

    @property
    def relative_error(self) -> float:
        """Standard error of the median, as a fraction of it."""
        return median_error(self.samples_ms)

    @property
    def median(self) -> float:
        """Median of the samples."""
        return statistics.median(self.samples_ms)

    @property
    def mean(self) -> float:
        """Mean of the samples."""
        return statistics.fmean(self.samples_ms)

    def percentile(self, percent: int) -> float:
        """Return a percentile of the samples, interpolated between neighbours."""
        if len(self.samples_ms) == 1:
            return self.samples_ms[0]
        return statistics.quantiles(self.samples_ms, n=100, method="inclusive")[percent - 1]


def collect(
    take: Callable[[], Window],
    *,
    criterion: Criterion,
    observe: Callable[[int], int],
    pause: Callable[[], None] = lambda: None,
) -> Series:
    """Take windows until the criterion is met or too many were void. Python collects no garbage meanwhile.

    A card that cannot hold its clock has no clean window. If there are too few clean windows, those with no event but
    a drop of the clock count after all, since they show the card as it is. The series still ends as contaminated.

    Args:
        take: Takes one window of samples; what it times must have been warmed up.
        criterion: When to stop.
        observe: Called after each window with its number of samples; returns 1 if the clock has dropped, otherwise 0.
        pause: Called before each window. Its time does not count as sampling.
    """
    clean: list[Window] = []
    clean_or_slow: list[Window] = []
    events, void_windows, taken = Events(), 0, 0
    stop: Stop | None = None
    gc.collect()
    began = time.perf_counter()
    with collecting_no_garbage():
        while stop is None:
            paused = time.perf_counter()
            pause()
            began += time.perf_counter() - paused
            before = _count()
            window = take()
            taken += len(window.samples_ms) + window.queue_gaps
            found = _count() - before
            slow = Events(clock_drops=observe(len(window.samples_ms)))
            events += found + slow + Events(queue_gaps=window.queue_gaps)
            if not found:
                clean_or_slow.append(window)
            if found or slow or not window.samples_ms:
                void_windows += 1
                stop = "contaminated" if void_windows == _MOST_VOID_WINDOWS else None
            else:
                clean.append(window)
                stop = criterion.verdict(
                    _joined(each.samples_ms for each in clean), elapsed_s=time.perf_counter() - began
                )
    too_few = stop == "contaminated" and sum(len(each.samples_ms) for each in clean) < criterion.minimum_samples
    kept = clean_or_slow if too_few else clean
    samples = _joined(each.samples_ms for each in kept)
    return Series(
        samples_ms=samples,
        issue_ms=_joined(each.issue_ms for each in kept),
        stop=stop,
        events=events,
        void_samples=taken - len(samples),
    )


def _joined(series: Iterable[Sequence[float]]) -> tuple[float, ...]:
    return tuple(itertools.chain.from_iterable(series))


def _count() -> Events:
    """Return how often each event has happened in this process so far."""
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return Events(
        compilations=_COMPILATIONS.total(),
        autotunings=autotuning.choices_made(),
        algorithm_searches=len(torch.cuda.tunable.get_results()) if on_gpu and torch.cuda.tunable.is_enabled() else 0,
        garbage_collections=sum(generation["collections"] for generation in gc.get_stats()),
        device_allocations=torch.cuda.memory_stats().get("num_device_alloc", 0) if on_gpu else 0,
    )


class _Compilations:
    """Counts kernels that Triton compiled or loaded, and graphs that torch.compile compiled."""

    def __init__(self) -> None:
        self._total = 0

    def total(self) -> int:
        """Return the count. A compiler is counted from the first call after it was loaded."""
        for compiler, listen in (("triton", self._listen_to_triton), ("torch._dynamo", self._listen_to_dynamo)):
            if compiler in sys.modules:
                listen()
        return self._total

    def _listen_to_triton(self) -> None:
        from triton import knobs

        knobs.compilation.listener = self._one_more

    def _listen_to_dynamo(self) -> None:
        from torch._dynamo.callback import callback_handler

        if self._one_more not in callback_handler.start_callbacks:  # `torch.compiler.reset` removes all listeners
            callback_handler.register_start_callback(self._one_more)

    def _one_more(self, *_: object, **__: object) -> None:
        self._total += 1


_COMPILATIONS = _Compilations()
