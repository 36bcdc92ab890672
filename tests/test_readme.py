"""What the README says was found is what the committed records say."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.efficiency.records import Record
from bench.efficiency.store import read_records
from bench.reporting.efficiency.quantities import Quantity, gpu_time, memory, time_as_in_paper

ROOT = Path(__file__).parents[1]
GPUS = ("nvidia-h100", "nvidia-h200")
REPORTS = ROOT / "reports" / "nvidia-h100"
ATTENTION = ("sa/sdpa", "sa/eager")


class Found:
    """The records of a committed sweep."""

    def __init__(self, folder: str) -> None:
        self._records = {(each.name, each.seconds): each for each in read_records(REPORTS / folder)}
        self.names = {name for name, _ in self._records}
        self.lengths = sorted({seconds for _, seconds in self._records})

    def value(self, quantity: Quantity, name: str, seconds: float) -> float:
        value = quantity(self._records[name, seconds])
        assert value is not None
        return value

    def gpu_ms(self, name: str, seconds: float = 400.0) -> float:
        return self.value(gpu_time, name, seconds)

    def ms(self, name: str, seconds: float = 400.0) -> float:
        """As the paper timed it, in the preset where that was done."""
        return self.value(time_as_in_paper, name, seconds)

    def gib(self, name: str, seconds: float = 400.0) -> float:
        return self.value(memory, name, seconds)


@pytest.fixture(scope="module")
def readme() -> str:
    return " ".join((ROOT / "README.md").read_text().split())


@pytest.fixture(scope="module")
def how_it_measures() -> str:
    return " ".join((ROOT / "reports" / "how-it-measures.md").read_text().split())


def test_the_papers_figures_are_reproduced_by_its_own_layers(readme: str) -> None:
    released = Found("released")
    attention, fox, kda = "sa/eager", "fox/fla", "kda/fla"
    assert min(released.names, key=released.ms) == kda
    assert min(released.names, key=released.gib) == fox
    for name, gib in ((attention, 12.35), (fox, 0.328)):
        assert abs(released.gib(name) / gib - 1) < 0.01
    sentence = (
        "On an H100 the paper's own layers take at 400 s the memory that it says they take, "
        f"{released.gib(attention):.2f} GiB for softmax attention and {released.gib(fox):.3f} GiB for FoX, the least, "
        f"and about its time: {released.ms(kda):.2f} ms for KDA, the fastest, and {released.ms(attention):.1f} ms for "
        "attention, where the paper has 5.96 and 48.59."
    )
    assert sentence in readme
    assert "48.59 / 5.96" in (REPORTS / "released" / "claims.md").read_text()
    for name, ms in ((attention, 48.59), (kda, 5.96)):
        assert abs(released.ms(name) / ms - 1) < 0.1


def test_what_is_left_of_them_among_equals(readme: str) -> None:
    matched = Found("bfloat16")
    attention, kda, retnet = "sa/sdpa", "kda/fla", "retnet/fla"
    assert min(matched.names, key=matched.gpu_ms) == retnet
    assert matched.gib(attention) == min(map(matched.gib, matched.names))
    sentence = (
        "In stacks of equal size, in bfloat16 and with PyTorch's fused attention, "
        f"{matched.gpu_ms(attention) / matched.gpu_ms(kda):.1f} x is left of KDA's "
        f"{Found('released').ms('sa/eager') / Found('released').ms(kda):.1f} x on the GPU "
        f"({matched.gpu_ms(kda):.1f} ms against {matched.gpu_ms(attention):.1f} ms), RetNet is the fastest "
        f"({matched.gpu_ms(retnet):.1f} ms), and no mixer takes less memory than attention "
        f"({matched.gib(attention):.2f} GiB)"
    )
    assert sentence in readme


def test_up_to_where_attention_is_the_fastest(readme: str) -> None:
    matched = Found("bfloat16")
    by_gpu, by_call = (
        max(each for each in matched.lengths if min(matched.names, key=lambda name: of(name, each)) in ATTENTION)
        for of in (matched.gpu_ms, matched.ms)
    )
    sentence = (
        f"Attention is the fastest on the GPU up to {by_gpu:g} s of audio, and up to {by_call:g} s for who makes "
        "single calls from Python, whose launches the others wait for longer"
    )
    assert sentence in readme


def test_the_table_of_our_kernels_is_what_the_records_say() -> None:
    records = [
        {
            (each.name, each.precision, each.pass_): each
            for each in read_records(ROOT / "reports" / gpu / "kernels")
            if each.seconds == 400.0
        }
        for gpu in GPUS
    ]
    for label, library, ours in (("FoX", "fox/flex", "fox/triton"), ("LightNet", "lightnet/fla", "lightnet/triton")):
        for precision in ("bfloat16", "tf32"):
            for pass_ in ("inference", "training"):
                measured = [
                    [dataclasses.asdict(of_gpu[name, precision, pass_]) for name in (library, ours)]
                    for of_gpu in records
                ]
                check_row(f"{label}, {precision}, {pass_}", measured, memory=lambda gib: f"{gib:.2f}")


def check_row(label: str, measured: list[list[dict[str, Any]]], *, memory: Callable[[float], str]) -> None:
    """Look for the row of a table: for each GPU times and ratios, and memory, which is the same on all of them."""
    cells = [label]
    for before, after in measured:
        cells += [f"{before['gpu_ms']:.2f}", f"{after['gpu_ms']:.2f}"]
        cells += [f"{before['gpu_ms'] / after['gpu_ms']:.1f}", f"{after['gpu_ms'] / after['floor_ms']:.1f}"]
    ((of_library, of_ours),) = {tuple(memory(side["peak_memory_gib"]) for side in sides) for sides in measured}
    assert f"| {' | '.join([*cells, of_library, of_ours])} |" in (ROOT / "reports" / "README.md").read_text()


def test_wall_times_are_those_that_the_sweeps_recorded() -> None:
    text = (ROOT / "reports" / "README.md").read_text()
    recorded = list((ROOT / "reports").glob("*/*/wall.json"))
    assert len(recorded) > 10
    for path in recorded:
        name = path.parent.relative_to(ROOT / "reports").as_posix()
        (row,) = (line for line in text.splitlines() if line.startswith(f"| [{name}]("))
        assert row.endswith(f" | {json.loads(path.read_text())['total_s']:.0f} s |"), name


def pairs(gpu: str, one: str, other: str) -> list[tuple[Record, Record]]:
    """The records of two sweeps of the same cases, case by case."""
    sides = (
        {(each.name, each.seconds): each for each in read_records(ROOT / "reports" / gpu / folder)}
        for folder in (one, other)
    )
    before, after = sides
    assert before.keys() == after.keys()
    return [(before[case], after[case]) for case in before]


def microseconds_apart(one: Record, other: Record) -> float:
    assert one.gpu_ms
    assert other.gpu_ms
    return 1000 * abs(one.gpu_ms - other.gpu_ms) if one.gpu_ms < 0.5 else 0.0


@pytest.mark.parametrize("gpu", GPUS)
def test_the_peak_of_a_graph_is_that_of_the_call_within_what_is_told(how_it_measures: str, gpu: str) -> None:
    assert "with a peak that is the call's own within 5 MiB" in how_it_measures
    for graph, call in pairs(gpu, "graph", "bfloat16"):
        assert graph.peak_memory_gib == pytest.approx(call.peak_memory_gib, abs=5 / 1024)


def test_what_two_sweeps_of_the_same_differ_by_is_as_told(how_it_measures: str) -> None:
    cold_and_warm = pairs("nvidia-h200", "bfloat16-cold", "bfloat16")
    calls, graphs = (
        max(microseconds_apart(*pair) for pair in sweeps)
        for sweeps in (cold_and_warm, pairs("nvidia-h100", "graph", "graph-again"))
    )
    assert (
        "of the calls below half a millisecond the cold and the warm sweep in `nvidia-h200` differ by up to "
        f"{calls:.0f} us, and two sweeps of graphs in `nvidia-h100` by up to {graphs:.0f} us"
    ) in how_it_measures
    energies = [(one.energy_j or 0.0, other.energy_j or 0.0) for one, other in cold_and_warm]
    factors = [max(pair) / min(pair) for pair in energies]
    assert (
        f"of the cold and the warm sweep in `nvidia-h200`, {sum(factor <= 1.2 for factor in factors)} of "
        f"{len(factors)} cases agree within 20 %, and the worst differ by a factor of {max(factors):.1f}"
    ) in how_it_measures


@pytest.mark.parametrize("gpu", GPUS)
def test_how_many_medians_agree_is_what_the_comparisons_say(gpu: str) -> None:
    def agreeing(name: str) -> str:
        (found,) = re.findall(r"(\d+ of \d+) medians within 1%", (ROOT / "reports" / gpu / name).read_text())
        return str(found)

    text = " ".join((ROOT / "reports" / "README.md").read_text().split())
    cold_and_warm, graphs = map(agreeing, ("cold-against-warm.txt", "graph-against-graph.txt"))
    assert (
        f"Of the cold and the warm sweep {cold_and_warm} medians of the GPU's time agree within 1 % "
        f"([cold-against-warm.txt]({gpu}/cold-against-warm.txt)), of the two sweeps of graphs {graphs} "
        f"([graph-against-graph.txt]({gpu}/graph-against-graph.txt))"
    ) in text


@pytest.mark.parametrize(
    ("label", "test", "library"),
    [("FoX's attention", "test_fox_attention", "flex"), ("LightNet's layer", "test_lightnet_layer", "fla")],
)
def test_the_table_of_kernels_alone_is_what_the_benchmark_says(label: str, test: str, library: str) -> None:
    measured = [
        {each["name"]: each["extra_info"] for each in json.loads(path.read_text())["benchmarks"]}
        for path in (ROOT / "reports" / gpu / "kernels.json" for gpu in GPUS)
    ]
    for precision in ("bfloat16", "tf32"):
        for part in ("forward", "forward and backward"):
            names = [f"{test}[{part}-{precision}-{name}]" for name in (library, "triton")]
            sides = [[of_gpu[name] for name in names] for of_gpu in measured]
            assert all(side["gpu_samples"] >= 50 for of_gpu in sides for side in of_gpu)
            check_row(f"{label}, {precision}, {part}", sides, memory=lambda gib: f"{1024 * gib:.0f}")


def test_the_rate_of_training_is_what_was_measured(readme: str) -> None:
    measured = json.loads((REPORTS / "training" / "throughput.json").read_text())
    together = measured["rates"]["together"]
    sentence = (
        f"six mixers together train on {together['utterances_per_s']:.0f} utterances a second in "
        f"{together['peak_memory_gib']:.1f} GiB, {measured['times_faster']:.0f} times as fast as one after another in "
        "the manner of the paper's code, which puts the whole table, of four encoders and three seeds, at "
        f"{measured['hours_of_the_table']:.0f} hours"
    )
    assert len(together["step_ms"]) == 6
    assert sentence in readme
