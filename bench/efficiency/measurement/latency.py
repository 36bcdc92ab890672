"""Time of one call, three ways: a user's single call, the GPU alone, and the host that issues the call.

On a GPU, CUDA events are recorded before and after the call. If the device is idle when the call begins, they also
measure how long it waits for the host to launch the kernels. If the device is kept busy until the whole call is in the
launch queue, they measure the device alone. On a CPU there is only the performance counter.

The device's time is taken from replays of a CUDA graph where the call can be captured. Kernels that are launched one
by one have gaps between them, even behind a full queue, and these gaps differ between processes. In four processes on
an H100, calls at 10 s of audio differed by 2.7 to 5.1 %, steady in each process. Their graphs differed by 0.2 to 1.0 %.
A graph that takes longer than the call has captured other work, since libraries may choose other kernels for a capture.
Then the call itself is timed.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from bench.efficiency.measurement.criterion import Criterion
from bench.efficiency.measurement.windows import Series, Window, collect

WARM_UP_CALLS = 3  # the first compiles and tunes, the second may still allocate, the third is like every later one

CPU_CALLS = Criterion(relative_error=0.01, minimum_seconds=0.22, maximum_seconds=0.5)

# Single calls include the host's time, which differed by a factor of up to 2.4 between two sweeps on one host. More
# samples of one process would not tell more.
SINGLE_CALLS = Criterion(relative_error=0.01, minimum_samples=10, minimum_seconds=0.06, maximum_seconds=0.12)

# The device changes between levels of time that last about 0.1 s (see `variance_inflation`), and its energy counter
# changes every 0.1 s: two changes take up to 0.2 s. Medians of 42 cases in three processes on an H100, taken with this
# criterion, agreed within 1 % in 125 of 126 pairs; with a minimum of 0.3 s in 126, of 0.1 s in 121.
GPU_TIME = Criterion(relative_error=0.005, minimum_samples=10, minimum_seconds=0.22, maximum_seconds=0.6)

_WINDOW_S = 0.02  # short, so that a contaminated window costs little
_OTHER_WORK = 1.25  # times what a single call takes; a graph of the same kernels takes at most as long as that
_HEAD_START = 1.15  # times what the host takes to issue a call and the events around it
_EVENTS_MS = 0.05
_GROWTH = 1.5  # of the head start, after one that was too short for most calls
_LONGEST = 10  # times the first head start; if even this is too short, the call itself waits for the device


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The times of a call.

    Attributes:
        single: Single calls, each begun on an idle device, with the time the host took to issue each.
        gpu: The device's own time, which may be the same series. None on a CPU, which issues and computes a call in
            one.
        gpu_clock: How ``gpu`` was taken: ``graph`` (replays of a CUDA graph), ``queue`` (calls behind a full launch
            queue), ``calls`` (single calls, which the host issues in next to no time); empty on a CPU.
    """

    single: Series
    gpu: Series | None
    gpu_clock: str = ""

    @property
    def host_ms(self) -> float | None:
        """Median time that the host takes to issue a call; None on a CPU."""
        return statistics.median(self.single.issue_ms) if self.single.issue_ms else None

    @property
    def launch_bound(self) -> bool | None:
        """Whether the host takes longer to issue a call than the device to compute it; None if one is unknown."""
        if self.host_ms is None or self.gpu is None or not self.gpu.samples_ms:
            return None
        return self.host_ms > self.gpu.median


def measure_latency(
    call: Callable[[], object],
    *,
    device_type: str,
    replay: Callable[[], object] | None = None,
    cold_cache: bool = False,
    gpu_time: Criterion = GPU_TIME,
    spare_s: float = 0.0,
    observe: Callable[[int], int] = lambda _: 0,
    pause: Callable[[], None] = lambda: None,
) -> Latency:
    """Time single calls, and on a GPU the device alone, each until its criterion is met.

    Without a graph, the device waits for the host no longer than the host takes to issue a call. If that time is within
    the precision asked for, a series of single calls gives both times, and nothing is queued.

    Args:
        call: What is timed; it must have been warmed up.
        device_type: ``cuda`` or ``cpu``.
        replay: Replays the call as a CUDA graph; None if it cannot be captured. One that does other work is not used.
        cold_cache: Whether the GPU's L2 cache is overwritten before each call, outside what is timed.
        gpu_time: When to stop timing the device.
        spare_s: As for `measure_single_calls`.
        observe: Called after each window with its number of calls on the device alone, or with 0; returns 1 if the
            clock has dropped.
        pause: Called before each window on the device alone, which has no other pause.

    Raises:
        RuntimeError: No window of single calls was clean.
    """
    single = measure_single_calls(
        call, device_type=device_type, cold_cache=cold_cache, spare_s=spare_s, observe=lambda _: observe(0)
    )
    if device_type == "cpu":
        return Latency(single=single, gpu=None)
    prepare = _Flush() if cold_cache else _nothing
    issue_ms = statistics.median(single.issue_ms)
    if replay is not None:
        replayed = _single_on_gpu(replay, prepare)
        if statistics.median(replayed.samples_ms) > _OTHER_WORK * single.median:
            replay = None
        else:
            issue_ms = statistics.median(replayed.issue_ms)
    if replay is None and issue_ms <= gpu_time.relative_error * single.median:
        series = collect(lambda: _single_on_gpu(call, prepare), criterion=gpu_time, observe=observe, pause=pause)
        single = _checked(series)
        return Latency(single=single, gpu=single, gpu_clock="calls")
    queue = _Queue(replay or call, prepare, issue_ms=issue_ms)
    gpu = collect(queue.window, criterion=gpu_time, observe=observe, pause=pause)
    return Latency(single=single, gpu=gpu, gpu_clock="graph" if replay else "queue")


def measure_single_calls(
    call: Callable[[], object],
    *,
    device_type: str,
    cold_cache: bool = False,
    spare_s: float = 0.0,
    observe: Callable[[int], int] = lambda _: 0,
) -> Series:
    """Time single calls, each begun on an idle device.

    Args:
        call: What is timed; it must have been warmed up.
        device_type: ``cuda`` or ``cpu``.
        cold_cache: Whether the GPU's L2 cache is overwritten before each call, outside what is timed.
        spare_s: How much longer than usual calls on a CPU may be sampled if they do not converge.
        observe: Called after each window with its number of calls; returns 1 if the clock has dropped.

    Raises:
        RuntimeError: No window was clean.
    """
    if device_type == "cpu":
        longer = dataclasses.replace(CPU_CALLS, maximum_seconds=CPU_CALLS.maximum_seconds + spare_s)
        return _checked(collect(lambda: _single_on_cpu(call), criterion=longer, observe=observe))
    prepare = _Flush() if cold_cache else _nothing
    return _checked(collect(lambda: _single_on_gpu(call, prepare), criterion=SINGLE_CALLS, observe=observe))


def measure_as_the_paper(calls: Iterable[Callable[[], object]]) -> float:
    """Return the mean time in ms of calls that each run once, between two events. The first one is warm-up."""
    times = []
    for call in calls:
        torch.cuda.synchronize()
        start, end = timing_events()
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.fmean(times[1:])


def busy(milliseconds: float) -> None:
    """Occupy the current CUDA stream for about this time, with a kernel that only counts clock cycles."""
    assumed_mhz = 2000  # the highest clock of present cards; at a lower one the kernel takes longer
    torch.cuda._sleep(int(milliseconds * 1e3 * assumed_mhz))  # type: ignore[no-untyped-call]


def _checked(series: Series) -> Series:
    if not series.samples_ms:
        raise RuntimeError(f"no window of samples was clean: {series.events}")
    return series


def _nothing() -> None:
    pass


class _Flush:
    """Overwrites the L2 cache with a buffer of twice its size."""

    def __init__(self) -> None:
        size = 2 * torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
        self._buffer = torch.empty(size, dtype=torch.uint8, device="cuda")

    def __call__(self) -> None:
        self._buffer.zero_()


def _for_a_window() -> Iterator[None]:
    """Yield until a window's time is over, at least once."""
    end = time.perf_counter() + _WINDOW_S
    yield
    while time.perf_counter() < end:
        yield


def _single_on_gpu(call: Callable[[], object], prepare: Callable[[], None]) -> Window:
    times, issued = [], []
    for _ in _for_a_window():
        start, end = timing_events()
        prepare()
        torch.cuda.synchronize()
        start.record()
        began = time.perf_counter()
        call()
        issued.append(1e3 * (time.perf_counter() - began))
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return Window(samples_ms=times, issue_ms=issued)


def _single_on_cpu(call: Callable[[], object]) -> Window:
    times = []
    for _ in _for_a_window():
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return Window(samples_ms=times)


class _Queue:
    """Times calls whose kernels are all issued before the device reaches the first one."""

    def __init__(self, call: Callable[[], object], prepare: Callable[[], None], *, issue_ms: float) -> None:
        self._call = call
        self._prepare = prepare
        self._head_start_ms = _HEAD_START * (issue_ms + _EVENTS_MS)
        self._longest_ms = _LONGEST * self._head_start_ms

    def window(self) -> Window:
        """Take the samples of one window. A call that the device reached before it was all issued is left out.

        How long issuing takes is independent of the device's time, so leaving out these calls shifts no median.
        """
        times, gaps = [], 0
        for _ in _for_a_window():
            start, end = timing_events()
            torch.cuda.synchronize()
            busy(self._head_start_ms)
            self._prepare()
            start.record()
            self._call()
            end.record()
            reached = start.query()  # type: ignore[no-untyped-call]
            end.synchronize()
            if reached:
                gaps += 1
            else:
                times.append(start.elapsed_time(end))
        if gaps > len(times):
            self._head_start_ms = min(_GROWTH * self._head_start_ms, self._longest_ms)
        return Window(samples_ms=times, queue_gaps=gaps)


def timing_events() -> tuple[torch.cuda.Event, torch.cuda.Event]:
    """Return two events, to be recorded before and after what is timed."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    return start, end
