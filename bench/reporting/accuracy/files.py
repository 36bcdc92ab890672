"""The accuracy table as CSV, Markdown and LaTeX, and all pairs of mixers beside it. Needs no torch."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from bench.files import write_atomically
from bench.reporting.accuracy import paper_layout
from bench.reporting.accuracy.differing import differing
from bench.reporting.accuracy.evaluations import NO_DIRECTION
from bench.reporting.accuracy.table import AccuracyTable, Cell, Key, read
from bench.reporting.accuracy.words import DEMONSTRATION, ends, escape, gpu_ms, mixer_name, signed, split_name, spread
from bench.reporting.formats import NOTHING, millions, span, two_decimals
from bench.reporting.table_files import write_table
from mixers.support.errors import UserError

TABLE_FILES = "accuracy"
PAIRS_FILES = "pairs"


def write(runs: Sequence[Path], output: Path, *, sweeps: Sequence[Path] = ()) -> AccuracyTable:
    """Write the table of some runs, and a second one of all pairs of mixers, as CSV, Markdown and LaTeX (booktabs).

    The paper's Table 1 in its own layout is a third one, if any figure of the paper stands beside ours. Files of a
    table that is not made now are removed.

    Args:
        runs: Folders that `sbench train` made, evaluated, and those that `sbench probe` made.
        output: A folder; made if needed.
        sweeps: Folders that `sbench sweep` made, whose GPU times stand beside the scores.

    Returns:
        The table.

    Raises:
        UserError: `read` cannot make the table, or a file cannot be written.
    """
    table = read(runs, sweeps=sweeps)
    own = {"csv": _csv(table), "md": _markdown(table), "tex": _latex(table)}
    texts = {f"{TABLE_FILES}.{suffix}": text for suffix, text in own.items()} | paper_layout.texts(table)
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            if text is None:
                (output / name).unlink(missing_ok=True)
            else:
                write_atomically(output / name, text.encode())
        write_table(_pairs(table), output / PAIRS_FILES)
    except OSError as error:
        raise UserError(
            f"the table cannot be written into {output}: {error.strerror}", hint="Give another --output."
        ) from None
    return table


def _csv(table: AccuracyTable) -> str:
    """Return a row for each mixer, direction, encoder and split, in full precision."""
    rows = []
    for key, cell in table.cells.items():
        parameters = table.parameters_of(key.row.mixer, [key.column])
        rows.append(
            {
                "mixer": key.row.mixer,
                "direction": key.row.direction,
                "parameters": span(parameters, str) if parameters else "",
                "encoder": key.column,
                "corpus": cell.corpus,
                "split": key.split,
                "folds": cell.folds,
                "utterances": cell.utterances,
                "speakers": cell.speakers,
                "median_seconds": cell.seconds,
                "seeds": cell.seeds,
                "macro_f_percent": cell.ours,
                "spread_percent": cell.spread,
                "low_percent": cell.low,
                "high_percent": cell.high,
                "uar_percent": cell.recall,
                "uar_low_percent": cell.recall_low,
                "uar_high_percent": cell.recall_high,
                "paper_percent": cell.paper,
                "difference_points": cell.difference,
                "preset": NOTHING if key.row.direction == NO_DIRECTION else table.preset,
                "demonstration": table.demo,
                **_costs(table, key),
            }
        )
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def _costs(table: AccuracyTable, key: Key) -> dict[str, object]:
    """Return the columns of what a row costs; none without a sweep."""
    if table.costs is None:
        return {}
    found = table.costs.of(key.row, key.column)
    first = next(filter(None, found), None)
    return {
        **{
            f"gpu_ms_at_{seconds:g}_s": record and record.gpu_ms
            for seconds, record in zip(table.costs.seconds, found, strict=True)
        },
        "gpu_ms_implementation": first and first.implementation,
        "gpu_ms_width": first and str(first.width),  # a number would become 1024.0 beside an empty field
        "gpu_ms_precision": first and first.precision,
        "gpu_ms_device": first and first.device,
    }


def _lines(table: AccuracyTable) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the lines of Markdown and LaTeX; the paper's columns only where any figure is its own."""
    beside = any(cell.paper is not None for cell in table.cells.values())
    heads = ["Encoder", "Split", "Mechanism", "Direction", "Parameters (M)", "Macro-F (%)", "Spread (seeds)", "95 %"]
    heads += ["UAR (%)", *(["Paper (%)", "Difference"] if beside else [])]
    heads += [f"GPU ms, {seconds:g} s" for seconds in (table.costs.seconds if table.costs else ())]
    return heads, [_line(table, key, cell, beside=beside) for key, cell in table.cells.items()]


def _line(table: AccuracyTable, key: Key, cell: Cell, *, beside: bool) -> list[str]:
    return [
        key.column,
        split_name(key.split),
        mixer_name(key.row),
        key.row.direction,
        span(table.parameters_of(key.row.mixer, [key.column]), millions),
        two_decimals(cell.ours),
        spread(cell),
        ends(cell.low, cell.high),
        two_decimals(cell.recall),
        *([two_decimals(cell.paper), signed(cell.difference)] if beside else []),
        *(gpu_ms(each) for each in (table.costs.of(key.row, key.column) if table.costs else ())),
    ]


def _markdown(table: AccuracyTable) -> str:
    heads, lines = _lines(table)
    alignment = ["left"] * 4 + ["right"] * (len(heads) - 4)
    grid = tabulate(lines, headers=heads, tablefmt="github", disable_numparse=True, colalign=alignment)
    return paper_layout.with_notes(grid, table)


def _latex(table: AccuracyTable) -> str:
    heads, lines = _lines(table)
    notes = [*([DEMONSTRATION] if table.demo else []), *table.notes, *differing(table)]
    return "\n".join(
        [
            f"\\begin{{tabular}}{{llll*{{{len(heads) - 4}}}{{r}}}}",
            "\\toprule",
            f"{' & '.join(map(escape, heads))} \\\\",
            "\\midrule",
            *(f"{' & '.join(map(escape, line))} \\\\" for line in lines),
            "\\bottomrule",
            *(f"\\multicolumn{{{len(heads)}}}{{l}}{{{escape(note)}}} \\\\" for note in notes),
            "\\end{tabular}\n",
        ]
    )


def _pairs(table: AccuracyTable) -> pd.DataFrame:
    """Return a row for each pair, with the interval over speakers and seeds of the difference in points."""
    rows = [
        {
            "encoder": pair.column,
            "split": pair.split,
            "mixer": pair.first.mixer,
            "direction": pair.first.direction,
            "other": pair.second.mixer,
            "its direction": pair.second.direction,
            "seeds": pair.seeds,
            "difference (points)": 100 * pair.comparison.difference.value,
            "low": 100 * pair.comparison.difference.low,
            "high": 100 * pair.comparison.difference.high,
            "p (speakers)": pair.comparison.p_speakers,
            "p (seeds)": pair.comparison.p_seeds,
            "p (Holm)": pair.comparison.p,
            "comparisons": len(table.pairs),
            "mixer is": pair.comparison.verdict,
            **({"note": DEMONSTRATION} if table.demo else {}),
        }
        for pair in table.pairs
    ]
    return pd.DataFrame(rows)
