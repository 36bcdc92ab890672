"""How long a sweep took, however often it was interrupted."""

from pathlib import Path

import pytest

from bench.efficiency.wall_time import WALL_FILE, WallTime, add_session, read_wall_time


def session(total_s: float, *, cases: int) -> WallTime:
    return WallTime(ready_s={f"kda of {cases}": 1.0}, measured_s=total_s - 1, total_s=total_s, cases=cases)


def test_a_sweep_in_one_session(tmp_path: Path) -> None:
    add_session(session(9.876, cases=4), tmp_path, done_before=0)
    wall = read_wall_time(tmp_path)
    assert wall == WallTime(ready_s={"kda of 4": 1.0}, measured_s=8.88, total_s=9.88, cases=4)
    assert str(wall) == "10 s"


def test_the_sessions_of_a_resumed_sweep_are_summed_and_counted(tmp_path: Path) -> None:
    add_session(session(9.0, cases=4), tmp_path, done_before=0)
    add_session(session(20.0, cases=8), tmp_path, done_before=4)
    wall = read_wall_time(tmp_path)
    assert wall
    assert (wall.sessions, wall.cases, wall.untimed_cases) == (2, 12, 0)
    assert (wall.measured_s, wall.total_s) == (27.0, 29.0)
    assert wall.ready_s.keys() == {"kda of 4", "kda of 8"}
    assert str(wall) == "29 s in 2 sessions"


@pytest.mark.parametrize("first", [True, False], ids=["a later session", "the first session"])
def test_the_cases_of_a_killed_session_are_counted_as_untimed(tmp_path: Path, first: bool) -> None:
    if first:
        add_session(session(9.0, cases=4), tmp_path, done_before=0)
    add_session(session(20.0, cases=2), tmp_path, done_before=10)  # some were measured by one that was killed
    add_session(session(30.0, cases=1), tmp_path, done_before=12)
    wall = read_wall_time(tmp_path)
    assert wall
    assert (wall.cases, wall.untimed_cases) == ((7, 6) if first else (3, 10))
    assert str(wall) == ("more than 59 s in 3 sessions" if first else "more than 50 s in 2 sessions")


def test_files_of_earlier_versions_are_of_one_whole_session(tmp_path: Path) -> None:
    (tmp_path / WALL_FILE).write_text('{"ready_s": {}, "measured_s": 140.0, "total_s": 142.29}\n')
    assert str(read_wall_time(tmp_path)) == "142 s"
    add_session(session(8.0, cases=2), tmp_path, done_before=80)
    wall = read_wall_time(tmp_path)
    assert wall
    assert (wall.sessions, wall.cases, wall.untimed_cases) == (2, 82, 0)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"total_s": 3}'])
def test_a_damaged_file_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / WALL_FILE).write_text(content)
    assert read_wall_time(tmp_path) is None
