"""What the README says was found is what the committed records say."""

import json
import statistics
from pathlib import Path

import pytest

from bench.efficiency.records import read_records
from bench.reporting.analysis import Quantity, gpu_time, memory
from bench.reporting.claims import as_the_paper

ROOT = Path(__file__).parents[1]
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
        return self.value(as_the_paper, name, seconds)

    def gib(self, name: str, seconds: float = 400.0) -> float:
        return self.value(memory, name, seconds)


@pytest.fixture(scope="module")
def readme() -> str:
    return " ".join((ROOT / "README.md").read_text().split())


def test_the_papers_figures_are_reproduced_by_its_own_layers(readme: str) -> None:
    released = Found("released")
    attention, fox, kda = "sa/eager", "fox/fla", "kda/fla"
    assert min(released.names, key=released.ms) == kda
    assert min(released.names, key=released.gib) == fox
    for name, gib in ((attention, 12.35), (fox, 0.328)):
        assert abs(released.gib(name) / gib - 1) < 0.01
    sentence = (
        "On an H100 the paper's own layers cost at 400 s what it says they cost: "
        f"{released.gib(attention):.2f} GiB for softmax attention and {released.gib(fox):.3f} GiB for FoX, the least, "
        f"and {released.ms(kda):.2f} ms for KDA, the fastest, against {released.ms(attention):.1f} ms for "
        "attention"
    )
    assert sentence in readme


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
    text = (ROOT / "reports" / "README.md").read_text()
    records = {
        (each.name, each.precision, each.pass_): each
        for each in read_records(REPORTS / "kernels")
        if each.seconds == 400.0
    }
    for label, library, ours in (("FoX", "fox/flex", "fox/triton"), ("LightNet", "lightnet/fla", "lightnet/triton")):
        for precision in ("bfloat16", "tf32"):
            for pass_ in ("inference", "training"):
                before, after = records[library, precision, pass_], records[ours, precision, pass_]
                assert before.gpu_ms
                assert after.gpu_ms
                assert after.floor_ms
                cells = (
                    f"{label}, {precision}, {pass_}",
                    f"{before.gpu_ms:.2f}",
                    f"{after.gpu_ms:.2f}",
                    f"{before.gpu_ms / after.gpu_ms:.1f}",
                    f"{after.gpu_ms / after.floor_ms:.1f}",
                    f"{before.peak_memory_gib:.2f}",
                    f"{after.peak_memory_gib:.2f}",
                )
                assert f"| {' | '.join(cells)} |" in text


def test_wall_times_are_those_that_the_sweeps_recorded() -> None:
    text = (ROOT / "reports" / "README.md").read_text()
    recorded = list((ROOT / "reports").glob("*/*/wall.json"))
    assert len(recorded) > 10
    for path in recorded:
        name = path.parent.relative_to(ROOT / "reports").as_posix()
        (row,) = (line for line in text.splitlines() if line.startswith(f"| [{name}]("))
        assert row.endswith(f" | {json.loads(path.read_text())['total_s']:.0f} s |"), name


@pytest.mark.parametrize("gpu", ["nvidia-h100", "nvidia-h200"])
def test_what_a_graphs_capture_adds_to_its_memory_is_as_told(gpu: str) -> None:
    text = " ".join((ROOT / "reports" / "how-it-measures.md").read_text().split())
    eager, graph = (
        {each.case[::2]: each.peak_memory_gib or 0.0 for each in read_records(ROOT / "reports" / gpu / folder)}
        for folder in ("bfloat16", "graph")
    )
    assert eager.keys() == graph.keys()
    added = [1024 * (graph[case] - eager[case]) for case in eager]
    assert f"some {statistics.median(added):.0f} MiB on an H100 or H200, whatever the length" in text
    assert 30 < min(added) < max(added) < 40


def test_the_table_of_attention_by_itself_is_what_the_benchmark_says() -> None:
    text = (ROOT / "reports" / "README.md").read_text()
    measured = {
        each["name"]: each["extra_info"] for each in json.loads((REPORTS / "attention.json").read_text())["benchmarks"]
    }
    for precision in ("bfloat16", "tf32"):
        for part in ("forward", "forward and backward"):
            flex, ours = (measured[f"test_attention[{part}-{precision}-{name}]"] for name in ("flex", "triton"))
            cells = (
                f"{precision}, {part}",
                f"{flex['gpu_ms']:.2f}",
                f"{ours['gpu_ms']:.2f}",
                f"{flex['gpu_ms'] / ours['gpu_ms']:.1f}",
                f"{ours['gpu_ms'] / ours['floor_ms']:.1f}",
                f"{1024 * flex['peak_memory_gib']:.0f}",
                f"{1024 * ours['peak_memory_gib']:.0f}",
            )
            assert f"| {' | '.join(cells)} |" in text


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
