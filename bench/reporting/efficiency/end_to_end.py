"""What a mixer costs of a whole system, as tables. Pure functions of the records of one setting of mixers.

`parts` are the records of all encoders and heads.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bench.efficiency.records import Record
from bench.efficiency.settings import WINDOWS_IN_A_BATCH
from bench.reporting.efficiency.analysis import CARDS_GIB, CONTEXT_GIB, longest_fitting
from bench.reporting.efficiency.analysis import capacities as capacities_of_mixers
from bench.reporting.efficiency.choices import between, estimates, ranking
from bench.reporting.efficiency.choices import choices as choices_of_mixers
from bench.reporting.efficiency.overview import CPU_NOTICE
from bench.reporting.efficiency.quantities import Quantity, conclusive_time, main_time
from bench.reporting.efficiency.whole import Block, Whole, base_of, blocks
from bench.reporting.formats import rounded_down

_EXPLANATION = (
    "Parts run one after the other, each measured alone: the time of the whole is the sum. Its peak is the largest of "
    "three, one while each part runs: the weights of all parts, the input of that part, and the peak of its call. The "
    f"head is attention pooling and the classifier. Windows go through in batches of up to {WINDOWS_IN_A_BATCH}; a "
    "shorter last one goes alone (Whisper pads it to 30 s). Feature extraction is not in the time."
)


def end_to_end(records: Sequence[Record], parts: Sequence[Record]) -> pd.DataFrame:
    """Return what each part costs at each length, its share, the peak of the whole, and what the mixer changes of both.

    There is a block of rows for each encoder and form. The last two columns compare with the base, softmax attention.
    """
    label, time = main_time(records)
    base = base_of(records)
    rows = []
    for block in blocks(records, parts, time):
        for name, wholes in block.wholes.items():
            for seconds, whole in wholes.items():
                reference = block.wholes.get(base or "", {}).get(seconds)
                rows.append(
                    {
                        "encoder": block.name,
                        "mixer": name,
                        "seconds": seconds,
                        **{f"{part} (ms)": time(record) for part, record in whole.parts.items()},
                        "whole (ms)": whole.ms(time),
                        **{f"share of the {part} (%)": 100 * share for part, share in whole.shares(time).items()},
                        "peak of the whole (GiB)": whole.peak_gib,
                        "peak is in the": whole.peak_in,
                        f"{label} against base (%)": _percent(
                            whole.ms(time), reference.ms(time) if reference else None
                        ),
                        "peak against base (%)": _percent(whole.peak_gib, reference.peak_gib if reference else None),
                    }
                )
    return pd.DataFrame(rows)


def _percent(value: float, reference: float | None) -> float | None:
    """Return by how many per cent a value is more than a reference."""
    return 100 * (value / reference - 1) if reference else None


def notes(records: Sequence[Record], parts: Sequence[Record]) -> list[str]:
    """Return how the whole is computed, what it is compared with, and where an encoder ends."""
    every = blocks(records, parts, main_time(records)[1])
    if not every:
        return []
    base = base_of(records)
    return [
        *([CPU_NOTICE + "."] if records[0].device_type == "cpu" else []),
        _EXPLANATION,
        f"The base is {base}." if base else "No softmax attention was measured, so nothing is compared with a base.",
        *filter(None, map(_end_of, every)),
    ]


def _end_of(block: Block) -> str:
    """Return at which length an encoder ends, and whether its memory grows with the square of the length."""
    cases = sorted(block.encoder.values(), key=lambda each: each.seconds)
    fitting = [each.seconds for each in cases if each.status == "ok"]
    failed = next((each for each in cases if each.status != "ok"), None)
    stores = any(each.fused_attention is False for each in cases)
    what = f"{block.label} has no fused attention: it stores its scores, L x L for each head." if stores else ""
    if failed is None:
        return f"{what} It was measured up to {fitting[-1]:g} s." if what else ""
    end = f"{block.label} ends before {failed.seconds:g} s ({failed.status}: {' '.join(failed.error.split())[:200]})"
    end += f"; the longest measured is {fitting[-1]:g} s" if fitting else ""
    longest = failed.longest_fitting_seconds
    return " ".join(filter(None, [what, f"{end}; up to {rounded_down(longest)} s fit." if longest else f"{end}."]))


def choices(records: Sequence[Record], parts: Sequence[Record]) -> pd.DataFrame:
    """Return the choices among mixers, with the whole system of the fastest one behind each encoder.

    Its columns are the time, the share of the mixer and the peak. A clip outside the lengths measured has none.
    """
    table = choices_of_mixers(records)
    if table.empty:
        return table
    for time in conclusive_time(records).values():
        for block in blocks(records, parts, time):
            rows = [_whole_at(block, _fastest(records, clip, time), clip, time) for clip in table["clip (s)"]]
            for column in ("ms", "mixer's share (%)", "peak (GiB)"):
                table[f"fastest behind {block.name}: {column}"] = [row.get(column) for row in rows]
    return table


def _fastest(records: Sequence[Record], clip: float, time: Quantity) -> str:
    found = ranking(estimates(records, clip, time), time)
    return found.names[0] if found else ""


def _whole_at(block: Block, name: str, clip: float, time: Quantity) -> dict[str, float]:
    wholes = block.wholes.get(name, {})
    if not wholes or not min(wholes) <= clip <= max(wholes):
        return {}
    lengths, every = list(wholes), list(wholes.values())
    ms = between(lengths, [whole.ms(time) for whole in every], clip)
    mixer = between(lengths, [whole.ms(time) * whole.shares(time)["mixer"] for whole in every], clip)
    gib = between(lengths, [whole.peak_gib for whole in every], clip)
    return {"ms": ms, "mixer's share (%)": 100 * mixer / ms, "peak (GiB)": gib}


def capacities(records: Sequence[Record], parts: Sequence[Record]) -> pd.DataFrame:
    """Return the longest audio that fits, of each mixer alone and behind each encoder.

    What fits is what fits while each part runs. Behind an encoder the weights of all parts take their room.
    """
    table, every = capacities_of_mixers(records), blocks(records, parts, main_time(records)[1])
    if table.empty or not parts:
        return table
    rows = [
        {
            "mixer": name,
            "measured up to (s)": max(wholes),
            **{f"{card} GiB": _capacity(block, wholes, card - CONTEXT_GIB) for card in CARDS_GIB},
            "encoder": block.name,
        }
        for block in every
        for name, wholes in block.wholes.items()
        if len(wholes) >= 3
    ]
    table.insert(0, "encoder", "none")
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table


def _capacity(block: Block, wholes: Mapping[float, Whole], gib: float) -> float:
    """Return the longest audio during which each part fits.

    Until its first batch of windows is full, the peak of an encoder grows faster than later. So only longer recordings
    tell how it grows, where two were measured.
    """
    window_s = next(iter(block.encoder.values())).window_s
    full = [seconds for seconds in wholes if window_s and seconds >= WINDOWS_IN_A_BATCH * window_s]
    lengths = {part: list(wholes) for part in ("encoder", "mixer", "head")}
    lengths["encoder"] = full if len(full) > 1 else lengths["encoder"]
    return min(
        longest_fitting(np.array(used), np.array([wholes[seconds].peaks_gib[part] for seconds in used]), gib)
        for part, used in lengths.items()
    )
