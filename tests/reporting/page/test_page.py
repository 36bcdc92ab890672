"""What stands on the page, read without a browser."""

import html.parser
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.efficiency.records import Record
from bench.reporting.efficiency.choices import choices
from bench.reporting.efficiency.frame import to_frame
from bench.reporting.efficiency.history import History
from bench.reporting.efficiency.overview import CPU_NOTICE
from bench.reporting.page import charts
from bench.reporting.page.accuracy import read
from bench.reporting.page.findings import Question, questions
from bench.reporting.page.grids import of_frame
from bench.reporting.page.write import render
from mixers.support.errors import UserError
from tests.reporting.efficiency.conftest import make_up_record
from tests.reporting.page.conftest import LONG, TABLE, make_up

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> & \'"'


class Page(html.parser.HTMLParser):
    """Collects the elements, the text outside of scripts, and the number of each cell of each table by its caption."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self._rows: list[list[str]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag == "td":
            self._rows[-1].append(dict(attrs).get("data-number") or "")

    def handle_data(self, data: str) -> None:
        if self._inside == "caption":
            self.tables[data] = self._rows
        if self._inside not in ("script", "style"):
            self.text += data
        self._inside = ""


@pytest.fixture(scope="module")
def page(records: Sequence[Record]) -> Page:
    return Page(render(records, folders=(), scores=[read(TABLE)]))


def test_the_numbers_of_all_cases_are_those_of_the_csv(records: Sequence[Record], page: Page) -> None:
    frame = to_frame(records)
    rows = page.tables["All cases"][1:]
    assert len(rows) == len(records)
    shown = pd.DataFrame(rows).iloc[:, [1, 3, 4]].apply(pd.to_numeric)
    expected = frame[["seconds", "gpu_ms", "gpu_samples"]].astype(float)
    assert (shown.to_numpy() == expected.to_numpy())[frame["gpu_ms"].notna()].all()


@hypothesis.settings(max_examples=30)
@given(st.lists(st.floats(allow_infinity=False), min_size=1))
def test_a_cell_is_sorted_by_its_full_precision(values: list[float]) -> None:
    for (cell,), value in zip(of_frame(pd.DataFrame({"ms": values}), title="t").rows, values, strict=True):
        assert cell.text == "-" if math.isnan(value) else float(str(cell.number)) == value


def test_no_name_or_error_becomes_an_element(tmp_path: Path) -> None:
    scores = (TABLE / "accuracy.csv").read_text().replace("lightnet,", f'"{HOSTILE.replace(chr(34), "")}",')
    (tmp_path / "accuracy.csv").write_text(scores)
    (tmp_path / "accuracy.md").write_text(f"- `{HOSTILE}`\n")
    fields: dict[str, Any] = {"mixer": HOSTILE, "implementation": HOSTILE, "device": HOSTILE, "torch": HOSTILE}
    failed = make_up_record("kda/fla", 20.0, status="failed", error=HOSTILE)
    text = render([make_up_record(**fields), failed], folders=(Path(HOSTILE),), scores=[read(tmp_path)])
    plain = Page(render([make_up_record(), failed], folders=(Path("run"),), scores=[read(TABLE)]))
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert Page(text).tags.count("script") == plain.tags.count("script")
    assert "img" not in Page(text).tags
    assert "<code>&lt;/script&gt;" in text


def answers(asked: Question) -> list[tuple[str, set[str]]]:
    return [(each.where, set(re.findall(r"\w+/\w+", each.who))) for each in asked.findings]


def test_the_findings_follow_the_rule_of_the_choices(records: Sequence[Record]) -> None:
    fastest, smallest = questions(records)
    found = {
        clip: set(re.findall(r"\w+/\w+", names)) for clip, names in choices(records)[["clip (s)", "fastest"]].values
    }
    ends = {seconds: names for where, names in answers(fastest) for seconds in map(float, re.findall(r"\d+", where))}
    assert ends[10.0] == found[10.0]
    assert ends[400.0] == {min((each for each in records if each.seconds == 400 and each.gpu_ms), key=gpu_ms).name}
    assert answers(smallest)[-1][1] == {"sa/sdpa"}


def gpu_ms(record: Record) -> float:
    assert record.gpu_ms
    return record.gpu_ms


def test_mixers_within_the_noise_share_the_place() -> None:
    pair = [make_up_record(name, gpu_ms=ms, gpu_error=0.001, gpu_clock="graph") for name, ms in TIED.items()]
    (finding,) = questions(pair)[0].findings
    assert finding.who == "kda/fla and sa/sdpa"
    assert finding.certainty.startswith("Noise explains their difference. The next, gsa/fla, takes 100 % longer")


TIED = {"kda/fla": 10.0, "sa/sdpa": 10.05, "gsa/fla": 20.0}


def test_what_did_not_converge_is_marked(page: Page) -> None:
    (finding,) = questions([make_up("kda/fla", 100.0)])[0].findings
    assert finding.less_precise
    assert "1 of 76 cases is less precise than asked for" in page.text


def test_a_page_of_a_cpu_says_that_it_is_no_guide(records: Sequence[Record]) -> None:
    on_cpu = [make_up_record(name, device_type="cpu", device="AMD") for name in ("sa/sdpa", "kda/fla")]
    page = Page(render(on_cpu, folders=()))
    assert CPU_NOTICE in page.text
    assert "No conclusion from single calls" in page.text
    assert "The paper's claims" not in page.text
    assert CPU_NOTICE not in Page(render(records[:2], folders=())).text


def test_the_most_accurate_is_said_with_its_certainty(page: Page) -> None:
    assert "75.13 % (95 %: 70.52 to 79.68)" in page.text
    assert "Not certain: lightnet (both) cannot be told apart from any of the 8 rows" in page.text
    assert len(page.tables["All scores"]) == 1 + len(pd.read_csv(TABLE / "accuracy.csv"))


def test_tests_of_several_lengths_have_one_chart_of_length_and_one_of_time(records: Sequence[Record]) -> None:
    scores = [read(LONG / f"table-{task}-30") for task in ("change", "salient")]
    page = Page(render(records[:2], folders=(), scores=scores))
    for task in ("change", "salient"):
        of = f"manifest (whisper-base-encoder, no text, table-{task}-30)"
        titles = [
            f"Most accurate, by macro-F on {of}",
            f"Macro-F against length: {of}",
            f"Macro-F against GPU time: {of}",
        ]
        assert [page.text.count(title) for title in titles] == [1, 1, 1]
        assert f"All scores, table-{task}-30" in page.tables
    assert page.text.count("240 s of audio") == 2  # a choice of each chart of time
    assert "test-240s lightnet (alternating) 77.95 %" in page.text


def test_tests_that_differ_in_more_than_length_share_no_chart(records: Sequence[Record], tmp_path: Path) -> None:
    frame = pd.read_csv(LONG / "table-change-30" / "accuracy.csv", keep_default_na=False, na_values=[""])
    others = frame.assign(split=frame["split"].str.replace("test-", "other-"))
    pd.concat([frame, others]).to_csv(tmp_path / "accuracy.csv", index=False)
    page = Page(render(records[:2], folders=(), scores=[read(tmp_path)]))
    of = "manifest (whisper-base-encoder, no text)"
    for kind in ("test", "other"):
        assert page.text.count(f"Macro-F against length: {of}, {kind}") == 1
    assert page.text.count("Macro-F against GPU time") == 2


def test_who_shares_the_highest_score_is_named_and_too_few_speakers_are(
    records: Sequence[Record], tmp_path: Path
) -> None:
    frame = pd.read_csv(TABLE / "accuracy.csv", keep_default_na=False, na_values=[""])
    (best,) = frame.index[frame["macro_f_percent"] == frame["macro_f_percent"].max()]
    frame.loc[best, "speakers"] = 4
    frame.to_csv(tmp_path / "accuracy.csv", index=False)
    few = Page(render(records[:2], folders=(), scores=[read(tmp_path)])).text
    assert "Nothing was compared with it: the test has 4 speakers of at least 6." in few
    alike = frame.index[frame["split"] == frame.loc[best, "split"]]
    second = next(index for index in alike if index != best)
    frame.loc[second, "macro_f_percent"] = frame.loc[best, "macro_f_percent"]
    frame.to_csv(tmp_path / "accuracy.csv", index=False)
    shared = Page(render(records[:2], folders=(), scores=[read(tmp_path)])).text
    assert "They have the same score." in shared
    names = (f"{frame.loc[each, 'mixer']} ({frame.loc[each, 'direction']})" for each in (best, second))
    assert all(name in shared for name in names)


def test_a_history_has_its_changes_and_sweeps(records: Sequence[Record], history: History) -> None:
    page = Page(render(records, folders=(), history=history))
    assert "2 changes in 2 of 4 cases, over 3 sweeps" in page.text
    assert len(page.tables["Changes"]) == 1 + 2
    assert len(page.tables["Sweeps"]) == 1 + 3
    some = [record for record in records if record.mixer == "sa"]
    assert "no change in 2 cases, over 3 sweeps" in Page(render(some, folders=(), history=history)).text


def test_the_mixers_share_of_a_whole_system_is_a_finding(page: Page) -> None:
    parts = {
        "matched": ("sa/sdpa", "kda/fla"),
        "encoder": ("xlsr-random/one-piece",),
        "head": ("head/pooling-classifier",),
    }
    whole = [make_up_record(name, gpu_ms=5.0, preset=part) for part, names in parts.items() for name in names]
    found = Page(render(whole, folders=()))
    assert "the mixer takes 33.3 % of the whole system's GPU time" in found.text
    assert "2 implementations at 10 s of audio, 4 cases" in found.text
    assert "End-to-end" in found.tables
    assert "The whole system" not in page.text


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_colour_can_be_seen_in_both_modes() -> None:
    style = (Path(charts.__file__).parent / "page.css").read_text()
    backs, texts, faint = (re.findall(rf"--{name}: (#\w+)", style) for name in ("back", "text", "faint"))
    assert len(backs) == 2
    for back, text, dim in zip(backs, texts, faint, strict=True):
        assert contrast(back, text) > 7
        assert contrast(back, dim) > 4.5
        for colour in charts.colours_of(str(number) for number in range(7)).values():
            assert contrast(back, colour) >= 3, colour


def test_a_folder_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"accuracy\.csv is missing"):
        read(tmp_path)
    (tmp_path / "accuracy.csv").write_text("mixer\nsa\n")
    with pytest.raises(UserError, match="has no direction, encoder"):
        read(tmp_path)
