"""What differs from its reference is marked in the table, in the figures and on the page."""

import dataclasses
import html
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from bench.efficiency.records import Record
from bench.reporting.efficiency import directions, figure2, grids
from bench.reporting.efficiency.analysis import costs
from bench.reporting.efficiency.choices import choices
from bench.reporting.efficiency.summary import summary
from bench.reporting.page import curves
from bench.reporting.page.findings import questions
from bench.reporting.page.write import render
from tests.reporting.efficiency.conftest import gpu_times, make_up_record

SAYS = "differs from its reference"


def records(*, conforms: bool | None) -> list[Record]:
    """Two mixers, and a third that conforms or not."""
    made = [
        make_up_record(name, seconds, conforms=True, **gpu_times(name, seconds))
        for name in ("sa/eager", "sa/sdpa", "kda/fla")
        for seconds in (10.0, 100.0)
    ]
    error = {True: 3e-3, False: 0.123, None: None}[conforms]
    return [
        dataclasses.replace(each, conforms=conforms, conformity_error=error) if each.mixer == "kda" else each
        for each in made
    ]


def drawn(monkeypatch: pytest.MonkeyPatch, found: list[Record]) -> list[Figure]:
    figures: list[Figure] = []
    for module in (directions, figure2, grids):
        monkeypatch.setattr(module, "save", lambda figure, *_, **__: figures.append(figure))
    figure2.draw_figure2(found, Path("figure2"))
    grids.draw_overview(found, Path("overview"))
    directions.draw_directions(found, Path("directions"))
    return figures


@pytest.mark.parametrize("conforms", [True, False, None])
def test_figures_mark_it(monkeypatch: pytest.MonkeyPatch, conforms: bool | None) -> None:
    found = records(conforms=conforms)
    for figure in drawn(monkeypatch, found):
        (legend,) = figure.legends
        assert (SAYS in [text.get_text() for text in legend.get_texts()]) is (conforms is False)
        marked = [
            sorted(zip(line.get_xdata(), line.get_ydata(), strict=True))  # type: ignore[arg-type]
            for line in figure.axes[0].lines
            if line.get_marker() == "D" and line.get_markeredgecolor() == "red"
        ]
        expected = [[(each.seconds, each.gpu_ms) for each in found if each.name == "kda/fla"]]
        assert marked == (expected if conforms is False else [])


@pytest.mark.parametrize("conforms", [True, False, None])
def test_tables_and_page_say_so(conforms: bool | None) -> None:
    found = records(conforms=conforms)
    console = Console(width=100)
    with console.capture() as capture:
        console.print(summary(found))
    text = capture.get()
    assert ("kda/fla !" in text) is (f"!: {SAYS}: kda/fla (error 0.12)" in text) is (conforms is False)
    assert "sa/sdpa !" not in text
    table = costs(found).set_index("mixer")["conforms"].dropna().to_dict()
    assert table.pop("kda/fla", None) == {True: "yes", False: "no", None: None}[conforms]
    assert table == {"sa/eager": "yes", "sa/sdpa": "yes"}
    ms = {"kda/fla": 10.0, "sa/sdpa": 20.0, "sa/eager": 40.0}
    faster = [dataclasses.replace(each, gpu_ms=ms[each.name]) for each in found]
    first = "sa/sdpa" if conforms is False else "kda/fla"
    assert set(choices(faster)["fastest"]) == {first}
    (answer,) = questions(faster)[0].findings
    assert answer.who == first
    chart = curves.chart(found, {"sa": "black", "kda": "blue"}, identifier="one", title="one")
    assert any(SAYS in note for note in chart.notes) is (conforms is False)
    assert ("-open-dot" in str(chart.plot)) is (conforms is False)


def shown(found: list[Record]) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(summary(found))
    return capture.get()


def test_why_nothing_could_be_checked_is_said() -> None:
    note = "RuntimeError: Error(s) in loading [/state_dict] for `KDA`:"
    found = [
        dataclasses.replace(each, conformity_note=note) if each.mixer == "kda" else each
        for each in records(conforms=None)
    ]
    assert f"not checked: kda/fla: {note}\n" in "".join(f"{line.strip()}\n" for line in shown(found).splitlines())
    page = " ".join(html.unescape(re.sub("</?code>", "`", render(found, folders=[]))).split())
    assert f"Not checked: kda/fla: {note}." in page


@pytest.mark.parametrize("conforms", [True, False, None])
def test_without_a_note_nothing_is_said_to_be_unchecked(conforms: bool | None) -> None:
    found = records(conforms=conforms)
    assert "not checked" not in shown(found)
    assert "Not checked" not in render(found, folders=[])


def test_what_differs_without_an_error_says_why() -> None:
    found = [
        dataclasses.replace(each, conformity_error=None, conformity_note="a result is not finite")
        if each.conforms is False
        else each
        for each in records(conforms=False)
    ]
    assert f"!: {SAYS}: kda/fla (a result is not finite)" in shown(found)
