"""Writes the tables of the Markdown pages from the committed records: ``python reports/make_pages.py``.

A page holds a table between ``<!-- table: NAME -->`` and ``<!-- end -->``. Everything between the two is replaced. A
test fails when a page differs from what this writes. Needs no torch.
"""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accuracy_tables
import choice_tables
from accuracy_tables import table
from choice_tables import GPUS, find, gpu_of

from bench.efficiency.store import read_records
from bench.efficiency.wall_time import read_wall_time
from bench.reporting.efficiency import end_to_end_page
from bench.reporting.efficiency.choices import left_out
from bench.reporting.efficiency.claims_page import what_takes_the_advantage
from bench.reporting.efficiency.fastest_page import fastest, smallest
from bench.reporting.efficiency.quantities import Quantity, gpu_time, known, memory, paper_time

REPORTS = Path(__file__).parent
_PAGES = ("README.md", "how-it-measures.md", "accuracy.md", "ravdess.md", "lengths.md", "end-to-end.md", "fastest.md")
PAGES = (REPORTS.parent / "README.md", *(REPORTS / name for name in _PAGES))

FASTEST_AT_S = (10.0, 50.0, 100.0, 400.0)

_MATCHED = "sbench sweep --direction paper --lengths 5,10,25,50,75,100,150,200,250,300,350,400 --precision {} "
_MATCHED += "--pass inference,training"

# What each folder was made by. measure.sh runs the same commands.
COMMANDS = {
    "bfloat16": "sbench sweep --max-seconds 400 --processes 5",
    "bfloat16-cold": "the same before it, with empty caches",
    **{
        f"direction-{direction}": f"sbench sweep --max-seconds 400 --direction {direction} --pass inference,training"
        for direction in ("causal", "alternating", "both")
    },
    "direction-paper": "sbench sweep --max-seconds 400 --direction paper",
    "directions": "sbench report direction-* --output directions",
    "end-to-end": "bash reports/endtoend.sh FOLDER",
    **{
        f"all-{direction}-{pass_}": f"bash reports/all.sh FOLDER {direction}-{pass_}"
        for direction in ("causal", "alternating")
        for pass_ in ("inference", "training")
    },
    "all": "bash reports/all.sh FOLDER report",
    "heads": "bash reports/all.sh FOLDER heads",
    "conformer": "bash reports/all.sh FOLDER conformer",
    "rivals": "bash reports/all.sh FOLDER rivals",
    "kernel-shares.csv": "python reports/kernel_shares.py kernel-shares.csv",
    "graph": "sbench sweep --max-seconds 400 --direction paper --execution graph",
    "released": "sbench sweep --max-seconds 400 --preset released",
    **{f"matched-{precision}": _MATCHED.format(precision) for precision in ("tf32", "float32")},
    "matched": "sbench report matched-tf32 matched-float32 --output matched",
    "kernels": "sbench sweep sa/sdpa fox/flex fox/triton lightnet/fla lightnet/triton --lengths 10,100,400 "
    "--preset layer --precision bfloat16,tf32 --pass inference,training",
    "kernels.json": "pytest --benchmark -m gpu --benchmark-json kernels.json",
    "training": "sbench throughput --steps 20 --utterances 1600",
    "gpus": "bash reports/gpus.sh RAVDESS WHISPER gpus",
}

_OF_H200 = {"bfloat16": "sbench sweep --max-seconds 400 --direction paper"}  # an older sweep than that of the H100

# The page or picture of each folder that a reader should open first.
_FIRST = {
    **{f"matched-{precision}": "results.csv" for precision in ("tf32", "float32")},
    **{f"direction-{direction}": "results.csv" for direction in ("causal", "alternating", "both", "paper")},
    "directions": "overview.png",
    "all": "directions.png",
    "end-to-end": "end-to-end.png",
    **dict.fromkeys(("heads", "conformer", "rivals"), "results.csv"),
    "matched": "claims.md",
    "released": "claims.md",
    "kernels": "tables/floors.md",
    "training": "throughput.json",
    "gpus": "scores.csv",
}


class Sweep:
    """The inference of a committed sweep. Times are the GPU's own, unless they are named the paper's."""

    def __init__(self, folder: str) -> None:
        self.records = [each for each in read_records(REPORTS / folder) if each.pass_ == "inference"]

    def value(self, name: str, quantity: Quantity) -> float:
        """Return a figure of a mixer at 400 s."""
        (record,) = (each for each in self.records if (each.name, each.seconds) == (name, 400.0))
        return known(record, quantity)

    def speed_up(self, name: str, *, over: str, by: Quantity = gpu_time) -> str:
        """Return how many times as fast one is as another at 400 s, both by the same clock."""
        return f"{self.value(over, by) / self.value(name, by):.1f} x as fast"


def findings() -> str:
    """Return what the README says: the paper's figures, its own layers, and stacks of equal size."""
    released, matched = Sweep("nvidia-h100/released"), Sweep("nvidia-h100/bfloat16")
    both = (released, matched)
    stored, fused = "KDA against attention that stores its scores", "KDA against PyTorch's fused attention"
    gpu, paper, gib = "GPU time", "paper's protocol", "peak memory"
    rows = [
        *(
            (f"fastest at {seconds:g} s", gpu, "", *(fastest(each.records, seconds) for each in both))
            for seconds in FASTEST_AT_S
        ),
        (stored, gpu, "", *(each.speed_up("kda/fla", over="sa/eager") for each in both)),
        (fused, gpu, "", *(each.speed_up("kda/fla", over="sa/sdpa") for each in both)),
        (stored, paper, "8.15 x as fast", released.speed_up("kda/fla", over="sa/eager", by=paper_time), ""),
        ("time of KDA", paper, "5.96 ms", f"{released.value('kda/fla', paper_time):.2f} ms", ""),
        (
            "attention that stores its scores",
            *(gib, "12.35 GiB", *(f"{each.value('sa/eager', memory):.2f} GiB" for each in both)),
        ),
        ("smallest", gib, "FoX (0.328 GiB)", *(smallest(each.records, 400.0) for each in both)),
    ]
    named = zip(("Released", "Matched"), both, strict=True)
    notes = [f"{label}: {text}" for label, each in named if (text := left_out(each.records))]
    return "\n\n".join([table(("", "by", "paper", "released", "matched"), rows), *notes])


def directions() -> str:
    """Return who is fastest when every frame may see the whole clip, and when none may see the future."""
    rows = []
    for direction in ("causal", "alternating", "both", "paper"):
        sweep = Sweep(f"nvidia-h100/direction-{direction}")
        first = [fastest(sweep.records, seconds) for seconds in (10.0, 100.0, 400.0)]
        rows.append((f"`{direction}`", *first, sweep.speed_up("kda/fla", over="sa/sdpa")))
    fused = "KDA against fused attention at 400 s"
    return table(("direction", "fastest at 10 s", "at 100 s", "at 400 s", fused), rows)


def advantage() -> str:
    """Return what takes KDA's advantage away at equal size."""
    return what_takes_the_advantage(read_records(REPORTS / "nvidia-h100" / "bfloat16"))


def whole_system(make: Callable[..., str]) -> str:
    """Return what the sweep with encoders says, and on which GPU."""
    folder = find("end-to-end")
    return f"On one {gpu_of(folder)}:\n\n{make(read_records(folder))}"


def sweeps(gpu: str) -> str:
    """Return the folders of one GPU model, the command behind each, and how long it took."""
    rows = []
    for name, command in (COMMANDS | (_OF_H200 if gpu == "H200" else {})).items():
        path = REPORTS / GPUS[gpu] / name
        if path.exists():
            took = str(read_wall_time(path) or "")
            target = "/".join([GPUS[gpu], name, *([] if path.is_file() else [_FIRST.get(name, "figure2.png")])])
            shown = command if command.startswith("the same") else f"`{command}`"
            rows.append((f"[{name}]({target})", shown, took))
    return table(("folder", "command", "wall time"), rows)


def repeats() -> str:
    """Return how far pairs of default sweeps of the same code agree, as repeats.py found it."""
    pairs = [json.loads(line) for line in (REPORTS / GPUS["H100"] / "repeats.jsonl").read_text().splitlines()]
    rows = []
    for pair in pairs:
        gpu, latency, crossings = pair["gpu"], pair["latency"], pair["crossings"]
        times = (pair["host"], f"{gpu['within 1 %']} of {gpu['cases']}", str(gpu["false"]))
        calls = (f"{latency['within 1 %']} of {latency['cases']}", f"{latency['false']} of {latency['cases']}")
        rows.append((*times, f"{crossings['meet']} of {crossings['pairs']}", *calls))
    headers = ("host", "GPU times within 1 %", "false verdicts", "crossings whose intervals meet")
    return table((*headers, "single calls within 1 %", "false verdicts, 5 processes"), rows)


def layers() -> str:
    """Return the times of whole layers: the library's kernels and our own."""
    records = [
        {
            (each.name, each.precision, each.pass_): each
            for each in read_records(REPORTS / folder / "kernels")
            if each.seconds == 400.0
        }
        for folder in GPUS.values()
    ]
    rows = []
    for label, library, ours in (("FoX", "fox/flex", "fox/triton"), ("LightNet", "lightnet/fla", "lightnet/triton")):
        for precision in ("bfloat16", "tf32"):
            for pass_ in ("inference", "training"):
                measured = [[vars(by[name, precision, pass_]) for name in (library, ours)] for by in records]
                rows.append(_kernel_row(f"{label}, {precision}, {pass_}", measured, lambda gib: f"{gib:.2f}"))
    return table(_kernel_headers("GiB"), rows)


def kernels() -> str:
    """Return the times of the kernels alone, as pytest-benchmark took them."""
    measured = [
        {each["name"]: each["extra_info"] for each in json.loads(path.read_text())["benchmarks"]}
        for path in (REPORTS / folder / "kernels.json" for folder in GPUS.values())
    ]
    rows = []
    for label, test, library in (
        ("FoX's attention", "test_fox_attention", "flex"),
        ("LightNet's layer", "test_lightnet_layer", "fla"),
    ):
        for precision in ("bfloat16", "tf32"):
            for part in ("forward", "forward and backward"):
                names = [f"{test}[{part}-{precision}-{name}]" for name in (library, "triton")]
                sides = [[by[name] for name in names] for by in measured]
                assert all(side["gpu_samples"] >= 50 for by in sides for side in by)
                rows.append(_kernel_row(f"{label}, {precision}, {part}", sides, lambda gib: f"{1024 * gib:.0f}"))
    return table(_kernel_headers("MiB"), rows)


def _kernel_headers(unit: str) -> tuple[str, ...]:
    per_gpu = [(f"{gpu}: library (ms)", "ours (ms)", "times faster", "over the floor") for gpu in GPUS]
    return ("", *(header for headers in per_gpu for header in headers), f"{unit}: library", "ours")


def _kernel_row(label: str, measured: list[list[dict[str, Any]]], memory: Callable[[float], str]) -> tuple[str, ...]:
    """Return times and ratios for each GPU, and the memory, which is the same on all of them."""
    cells = [label]
    for before, after in measured:
        cells += [f"{before['gpu_ms']:.2f}", f"{after['gpu_ms']:.2f}"]
        cells += [f"{before['gpu_ms'] / after['gpu_ms']:.1f}", f"{after['gpu_ms'] / after['floor_ms']:.1f}"]
    ((library, ours),) = {tuple(memory(side["peak_memory_gib"]) for side in sides) for sides in measured}
    return (*cells, library, ours)


TABLES: dict[str, Callable[[], str]] = {
    "findings": findings,
    "directions": directions,
    "advantage": advantage,
    "whole": functools.partial(whole_system, end_to_end_page.sentence),
    "end-to-end": functools.partial(whole_system, end_to_end_page.table),
    **choice_tables.TABLES,
    **accuracy_tables.TABLES,
    **{f"sweeps {gpu}": functools.partial(sweeps, gpu) for gpu in GPUS},
    "repeats": repeats,
    "layers": layers,
    "kernels": kernels,
}

_PLACE = re.compile(r"(<!-- table: (?P<name>[^>]+?) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def fill(text: str) -> str:
    """Return a page with its tables made anew."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{TABLES[found['name']]()}\n\n", text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
