"""Writes the page from records: what stands on it, in which order."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from bench.efficiency.noise import PROCESSES_DIFFER, PROCESSES_NEEDED
from bench.efficiency.records import Record
from bench.files import write_atomically
from bench.reporting.efficiency import claims_page, end_to_end_page
from bench.reporting.efficiency.allowances import CONFIDENCE
from bench.reporting.efficiency.choices import left_out
from bench.reporting.efficiency.frame import to_frame
from bench.reporting.efficiency.history import History
from bench.reporting.efficiency.overview import CPU_NOTICE, by_setting, distinguish, mixers_of, names_of
from bench.reporting.efficiency.quantities import nonconforming, on_gpu, unchecked, unconverged
from bench.reporting.efficiency.tables import Table, tables
from bench.reporting.formats import enumeration, span
from bench.reporting.page import accuracy, changes, curves
from bench.reporting.page.accuracy import Scores
from bench.reporting.page.charts import Chart, colours_of
from bench.reporting.page.findings import Question, questions
from bench.reporting.page.grids import Grid, of_frame, of_texts
from bench.reporting.page.machine import machine
from mixers.support.errors import UserError

PAGE_FILE = "index.html"

_HERE = Path(__file__).parent

_WHOLE = "end-to-end"

_UNFOLDED = ("costs", "choices", _WHOLE)  # the tables that most readers need

# What the page shows of each case; `results.csv` has all columns.
_COLUMNS = (
    *("seconds", "status", "gpu_ms", "gpu_ms_p05", "gpu_ms_p95", "gpu_samples", "converged", "conforms"),
    *("latency_ms", "latency_ms_low", "latency_ms_high", "processes", "samples", "peak_memory_gib", "error"),
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One setting on the page.

    Attributes:
        label: The setting in words.
        questions: Who is fastest and who is smallest.
        remarks: What the questions leave out, what did not converge or conform or was not checked, and what takes KDA's
            advantage away.
        chart: Its curves.
    """

    label: str
    questions: tuple[Question, ...]
    remarks: tuple[str, ...]
    chart: Chart


def write_page(
    records: Sequence[Record],
    output: Path,
    *,
    folders: Sequence[Path],
    scores: Sequence[Scores] = (),
    history: History | None = None,
) -> Path:
    """Write ``index.html``: findings, curves, tables, claims, the machine, and how it measures.

    Args:
        records: Of one machine, as `write_report` returns them.
        output: The folder to write to.
        folders: Those of the sweeps, for the facts of the machine.
        scores: Tables that ``sbench table`` wrote, which stand beside the sweeps.
        history: How the cases changed since older sweeps.

    Returns:
        Its path.

    Raises:
        UserError: The file cannot be written.
    """
    text = render(records, folders=folders, scores=scores, history=history)
    path = output / PAGE_FILE
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", hint="Give another --output.") from None
    return path


def render(
    records: Sequence[Record],
    *,
    folders: Sequence[Path],
    scores: Sequence[Scores] = (),
    history: History | None = None,
) -> str:
    """Return the page as HTML; the same records give the same text."""
    first, mixers, every = records[0], mixers_of(records), list(tables(records))
    colours = colours_of(record.mixer for record in records)
    lengths = span([record.seconds for record in records], lambda seconds: f"{seconds:g}")
    return _template().render(
        title=f"sbench on {first.device}",
        summary=f"{len(names_of(mixers))} implementations at {lengths} s of audio, {len(records)} cases, measured "
        f"{enumeration(sorted({record.started_at[:10] for record in records}))} with torch {first.torch}.",
        notice="" if on_gpu(records) else CPU_NOTICE,
        parts=_parts(mixers, colours),
        whole=end_to_end_page.sentence(records)
        if any(each.name == _WHOLE and len(each.frame) for each in every)
        else "",
        accuracy=[
            accuracy.show(each, colours, identifier=f"scores-{number}", named=len(scores) > 1)
            for number, each in enumerate(scores)
        ],
        changes=changes.show(history.only(names_of(records)), colours) if history else None,
        grids=_grids(every, records),
        claims=_claims(mixers),
        machine=machine(records, folders),
        on_gpu=on_gpu(records),
        confidence=CONFIDENCE,
        processes_differ=PROCESSES_DIFFER,
        processes_needed=PROCESSES_NEEDED,
        plotly=Markup(get_plotlyjs()),
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    return environment.get_template("page.html")


def _code(text: str) -> Markup:
    """Return text as HTML, with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _parts(records: Sequence[Record], colours: Mapping[str, str]) -> list[Part]:
    parts = []
    for number, (setting, alike) in enumerate(by_setting(records).items()):
        remarks = (
            claims_page.what_takes_the_advantage(alike),
            left_out(alike),
            unconverged(alike),
            nonconforming(alike),
            unchecked(alike),
        )
        part = Part(
            label=setting.label,
            questions=tuple(questions(alike)),
            remarks=tuple(f"{each[:1].upper()}{each[1:].rstrip('.')}." for each in remarks if each),
            chart=curves.chart(alike, colours, identifier=f"curves-{number}", title=setting.label),
        )
        parts.append(part)
    return parts


def _grids(every: Sequence[Table], records: Sequence[Record]) -> list[Grid]:
    """Return the tables of the report, and one of all cases."""
    found = [
        of_frame(table.frame, title=table.name.capitalize(), notes=table.notes, unfolded=table.name in _UNFOLDED)
        for table in every
        if len(table.frame) or table.notes
    ]
    labels = distinguish(record.setting for record in records)
    cases = to_frame(records)[list(_COLUMNS)].dropna(axis="columns", how="all")
    cases.insert(0, "mixer", [record.name for record in records])
    if len(labels) > 1:
        cases.insert(0, "setting", [labels[record.setting] for record in records])
    return [*found, of_frame(cases, title="All cases", notes=["The columns are those of results.csv, which has more."])]


def _claims(records: Sequence[Record]) -> list[tuple[str, list[Grid]]]:
    """Return the claims of the paper under a title each; none on a CPU."""
    if not on_gpu(records):
        return []
    found = []
    for number, section in enumerate(claims_page.sections(records)):
        both = {"Time": section.times, "Memory": section.memory}
        grids = [of_texts(each.heads, each.rows, title=title, unfolded=not number) for title, each in both.items()]
        found.append((section.title, grids))
    return found
