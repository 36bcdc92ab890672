import csv
import itertools
import random
import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from bench.reporting.efficiency.history import read
from bench.reporting.efficiency.history_text import markdown
from mixers.support.errors import UserError
from tests.conftest import Sbench
from tests.reporting.efficiency.conftest import make_up_record
from tests.reporting.efficiency.dated import made_up_times, write_dated
from tests.reporting.efficiency.folders import write_folder

TIMES = made_up_times(("sa/sdpa", "kda/fla"), (50.0, 100.0))
COUNTS = st.integers(2, 4)


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    count=COUNTS,
    step=st.none() | st.tuples(st.sampled_from(sorted(TIMES)), st.integers(1, 3), st.sampled_from([1.5, 1 / 1.5])),
    chance=st.randoms(use_true_random=False),
)
def test_only_a_step_is_a_change_and_only_where_it_is(
    count: int, step: tuple[tuple[str, float], int, float] | None, chance: random.Random
) -> None:
    """Copies differ in the order of their samples alone. The folders come in any order."""
    with tempfile.TemporaryDirectory() as place:
        folders = []
        for number in range(count):
            times = {case: chance.sample(each, len(each)) for case, each in TIMES.items()}
            if step and number >= step[1]:
                times[step[0]] = [step[2] * time for time in times[step[0]]]
            folders.append(write_dated(Path(place) / str(number), times, day=number + 1))
        chance.shuffle(folders)
        history = read(folders)
    assert [sweep.began.day for sweep in history.sweeps] == list(range(1, count + 1))
    found = [(case.name, case.seconds, point.sweep, point.since) for case, point in history.changes]
    expected = [(*step[0], step[1], step[1] - 1)] if step and step[1] < count else []
    assert [each[:3] for each in found] == [each[:3] for each in expected]
    assert all(since == 0 for *_, since in found)  # nothing had changed before
    assert {len(points) for points in history.series.values()} == {count}


def test_a_slow_drift_is_found_once_it_adds_up(tmp_path: Path) -> None:
    folders = [
        write_dated(
            tmp_path / str(day),
            {case: [1.01**day * time for time in each] for case, each in TIMES.items()},
            day=day + 1,
            source=f"code {day}",
        )
        for day in range(4)
    ]
    changes = {(point.since, point.sweep) for _, point in read(folders).changes}
    assert changes == {(0, 2)}
    for before, after in itertools.pairwise(folders):
        assert not read([before, after]).changes


def test_a_lost_figure_has_a_reason_and_no_verdict(tmp_path: Path, sbench: Sbench) -> None:
    lost = ("kda/fla", 100.0)
    for day, times in enumerate((TIMES, TIMES | {lost: []}, TIMES), start=1):
        write_dated(tmp_path / f"<b>{day}|", times, day=day, source=f"code {day}")
    folders = sorted(tmp_path.iterdir())
    history = read(folders)
    assert [(case.seconds, point.sweep, point.reason) for case, point in history.unknown] == [(100.0, 1, "ok -> oom")]
    code, out, _ = sbench("history", *folders, "--output", "out", "--github")
    assert code == 0
    assert out == f"{markdown(history)}\n"
    assert out.startswith("### sbench: no change in 4 cases, over 3 sweeps; 1 without a verdict in some")
    assert "kda/fla at 100 s in sweep 2: ok -\\> oom" in out
    assert "\\<b\\>1\\|" in out
    assert "<b>" not in out
    with (tmp_path / "out" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["status"], row["source"]) for row in rows[-3:]] == [
        *(("ok", "code 1"), ("oom", "code 2"), ("ok", "code 3"))
    ]
    assert [row["ms"] for row in rows[-3:]][1] == ""
    assert rows[-1]["verdict"] == "no difference"


def test_the_terminal_shows_sweeps_and_changes(tmp_path: Path, sbench: Sbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    slower = {case: [1.5 * time for time in each] for case, each in TIMES.items()}
    folders = [
        write_dated(tmp_path / f"sweep-{day}", times, day=day, source=f"code-{day}")
        for day, times in ((1, TIMES), (2, slower))
    ]
    code, out, _ = sbench("history", *folders)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["2", "2026-01-02", "03:04", str(folders[1]), "code-2"] in lines
    assert sum(line[-1:] == ["slower"] and line[:1] == ["kda/fla"] for line in lines) == 2
    assert "4 changes in 4 of 4 cases, over 2 sweeps" in out


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ([{}, {}], "no change in 4 cases, over 2 sweeps\n"),
        (
            [{}, {"kda/fla": []}],
            "no change in 2 cases that could be judged, over 2 sweeps; 2 without a verdict\n",
        ),
        (
            [{"kda/fla": []}, {}],
            "no change in 2 cases that could be judged, over 2 sweeps; 2 with a figure in fewer than two sweeps\n",
        ),
        (
            [{}, {"kda/fla": []}, {}],
            "no change in 4 cases, over 3 sweeps; 2 without a verdict in some sweeps\n",
        ),
        (
            [{"kda/fla": [], "sa/sdpa": []}] * 2,
            "no case could be judged, over 2 sweeps; 4 with a figure in fewer than two",
        ),
    ],
)
def test_only_what_could_be_judged_counts_as_unchanged(
    tmp_path: Path,
    sbench: Sbench,
    monkeypatch: pytest.MonkeyPatch,
    days: list[dict[str, list[float]]],
    said: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for day, lost in enumerate(days, start=1):
        times = {(name, seconds): lost.get(name, each) for (name, seconds), each in TIMES.items()}
        write_dated(tmp_path / str(day), times, day=day)
    code, out, _ = sbench("history", *sorted(tmp_path.iterdir()), "--by", "gpu")
    assert code == 0
    assert said in out


def test_single_calls_of_one_process_are_no_ground_to_say_that_nothing_changed(tmp_path: Path, sbench: Sbench) -> None:
    record = make_up_record("kda/fla")
    folders = [write_folder(tmp_path / name, record, processes=1) for name in ("one", "two")]
    out = sbench("history", *folders, "--github")[1]
    assert out.startswith("### sbench: no case could be judged, over 2 sweeps; 1 without a verdict\n")
    assert "By single calls, by the rules of" in out


def test_what_is_no_history_is_refused(tmp_path: Path, sbench: Sbench) -> None:
    one = write_dated(tmp_path / "one", TIMES, day=1)
    write_dated(tmp_path / "other", made_up_times(["gsa/fla"], [50.0]), day=2)
    write_dated(tmp_path / "elsewhere", TIMES, day=2, device="NVIDIA H100")
    write_dated(tmp_path / "speech", TIMES, day=2, input="speech")
    write_dated(tmp_path / "later", TIMES, day=2)
    for folders, message in (
        (["one"], "two sweeps or more"),
        (["one", "later", f"../{tmp_path.name}/one"], "given twice"),
        (["one", "other"], "no case is in two of the sweeps"),
        (["one", "elsewhere"], "do not have the same device"),
        (["one", "speech"], "do not have the same input"),
        (["one", "nowhere"], "no such folder"),
        (["one", "later", "--by", "clock"], "clock"),
    ):
        code, _, err = sbench("history", *folders)
        assert code == 2, folders
        assert message in err
    with pytest.raises(UserError, match="two sweeps"):
        read([one])
