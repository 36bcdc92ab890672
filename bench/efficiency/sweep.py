"""A sweep: every contestant at every length, each record on disk the moment it exists.

The folder of a sweep holds `sweep.json` (the plan and the environment), `records.jsonl` and `samples.jsonl`; all else
in it is made from these.
"""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.audio import check_recordings, find_recordings
from bench.efficiency import isolation, worker
from bench.efficiency.cases import DTYPES, Contestant, Plan
from bench.efficiency.device import environment
from bench.efficiency.inputs import EncodedSpeech, Input, RandomFeatures, StoredFeatures, store, stored_at
from bench.efficiency.records import RECORDS_FILE, SWEEP_FILE, Record, append_record, mend, read_records
from bench.encoders import load_encoder
from mixers.base import MixerConfig
from mixers.errors import UserError

# One case, compiling and autotuning included: on a GPU without prepared configurations a first case takes minutes.
CASE_LIMIT_S = 1800.0

# What must be the same for two halves of a sweep to be one: the machine, the libraries and this suite's code.
_BINDING = ("device", "device_type", "driver", "torch_build", "triton", "fla", "source")


def make_input(plan: Plan, scratch: Path) -> Input:
    """Return what the plan feeds the mixers.

    Recordings are encoded at all lengths here, in a process of their own, so that neither the time nor the memory of
    the encoder is near what is measured.

    Args:
        plan: What is to be measured.
        scratch: An empty folder for the features.

    Raises:
        UserError: The recordings or the encoder are not there, or one cannot be read.
    """
    if plan.audio is None:
        return RandomFeatures(width=MixerConfig().width, seed=plan.seed)
    description = ""
    encoding = isolation.run(
        partial(store, make=partial(_encoded_speech, plan), folder=scratch), plan.seconds, limit_s=CASE_LIMIT_S
    )
    for seconds, outcome in zip(plan.seconds, encoding, strict=True):
        if isinstance(outcome, isolation.Death):
            torch.save(f"the encoder failed: {outcome.reason}", stored_at(scratch, seconds))
        else:
            description = outcome
    return StoredFeatures(folder=scratch, description=description or f"{plan.audio} through {plan.encoder}")


def _encoded_speech(plan: Plan) -> EncodedSpeech:
    assert plan.audio is not None
    assert plan.encoder is not None
    recordings = find_recordings(Path(plan.audio))
    check_recordings(recordings)
    encoder = load_encoder(
        plan.encoder,
        width=MixerConfig().width,
        device=plan.device_type,
        dtype=DTYPES[plan.precision],
        seed=plan.seed,
    )
    return EncodedSpeech(recordings=recordings, encoder=encoder, seed=plan.seed)


def check_new(folder: Path) -> None:
    """Check that a folder is free for a new sweep.

    Raises:
        UserError: It exists.
    """
    if folder.exists():
        kind = "folder" if folder.is_dir() else "file"
        raise UserError(
            f"the output {kind} {folder} exists", hint="Give another --output, or go on in it with --resume."
        )


def start(plan: Plan, folder: Path) -> None:
    """Make the folder of a new sweep.

    Raises:
        UserError: It exists or cannot be written.
    """
    check_new(folder)
    here = isolation.call(environment, plan.device_type)
    content = json.dumps({"plan": dataclasses.asdict(plan), "environment": here}, indent=1)
    partial_folder = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial_folder.mkdir(parents=True)
        (partial_folder / SWEEP_FILE).write_text(content + "\n", encoding="utf-8")
        partial_folder.rename(folder)  # so that a folder of this name always holds its plan, whole
    except OSError as error:
        shutil.rmtree(partial_folder, ignore_errors=True)
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint="Give another --output.") from None


def resume(folder: Path) -> tuple[Plan, list[Record]]:
    """Return the plan of a sweep that was interrupted and what it has measured, a half-written last line removed.

    Raises:
        UserError: The folder is not a sweep's, or this is another machine, library or code than it began with.
    """
    try:
        content = json.loads((folder / SWEEP_FILE).read_text(encoding="utf-8"))
        plan, before = _plan(content["plan"]), content["environment"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder} holds no sweep to resume", hint=f"Give a folder with a {SWEEP_FILE}, which `sbench sweep` made."
        ) from None
    now = isolation.call(environment, plan.device_type)
    changed = [
        f"{name} {before.get(name)!r} then, {now.get(name)!r} now"
        for name in _BINDING
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise UserError(
            f"{folder} was measured under other conditions: {'; '.join(changed)}", hint="Start a new sweep instead."
        )
    records = folder / RECORDS_FILE
    mend(folder)
    return plan, read_records(folder) if records.exists() and records.stat().st_size else []


def measure(plan: Plan, source: Input, folder: Path, *, done: list[Record]) -> Iterator[Record]:
    """Measure what is not done yet, and yield each record once it is on disk.

    Raises:
        UserError: A record cannot be written, for instance because the disk is full.
    """
    began = time.perf_counter()
    device = json.loads((folder / SWEEP_FILE).read_text(encoding="utf-8"))["environment"]["device"]
    finished = {(record.name, record.seconds) for record in done}
    for position, contestant in enumerate(plan.contestants):
        missing = tuple(length for length in plan.seconds if (contestant.name, length) not in finished)
        if not missing:
            continue
        share = None
        if plan.time_budget_s is not None:
            left = plan.time_budget_s - (time.perf_counter() - began)
            share = left / (len(plan.contestants) - position)
        work = partial(
            worker.measure, contestant=contestant, plan=plan, source=source, device=device, time_budget_s=share
        )
        for length, outcome in zip(missing, isolation.run(work, missing, limit_s=CASE_LIMIT_S), strict=True):
            if isinstance(outcome, isolation.Death):
                outcome = (
                    worker.lost(length, outcome.reason, contestant=contestant, plan=plan, source=source, device=device),
                    None,
                )
            record, samples = outcome
            try:
                append_record(folder, record, samples)
            except OSError as error:
                raise UserError(
                    f"{folder} cannot be written: {error.strerror}",
                    hint=f"What was measured before is kept. Make room, then: sbench sweep --resume {folder}",
                ) from None
            yield record


def _plan(fields: dict[str, Any]) -> Plan:
    contestants = tuple(Contestant(**contestant) for contestant in fields.pop("contestants"))
    return Plan(contestants=contestants, seconds=tuple(fields.pop("seconds")), **fields)
