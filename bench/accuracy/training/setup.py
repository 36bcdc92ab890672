"""From what a user asks for to a run: the choices are checked, the corpus read, the encoders measured."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, broadcast_object_list
from safetensors import SafetensorError

import mixers
from bench.accuracy import corpora
from bench.accuracy import run as runs
from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, Corpus, Utterance
from bench.accuracy.corpora.demo import write_demo_corpus
from bench.accuracy.inputs.batches import check_whole_files, waveform_scale
from bench.accuracy.inputs.features import Encoders, SpeechFeatures, load_features
from bench.accuracy.inputs.random_encoders import WIDTH as DEMONSTRATION_WIDTH
from bench.accuracy.inputs.random_encoders import write_speech_encoder, write_text_encoder
from bench.accuracy.run import ModelConfig, Run
from bench.accuracy.training.model import PRESETS, STACKS, build
from bench.audio import check_recordings
from bench.files import whole
from bench.speech import check_seconds
from mixers.support.errors import UserError, unknown_name
from mixers.support.precision import DTYPES, use_precision

PRECISIONS = ("bfloat16", "float32")

_ANY_WIDTH = (256, 1024)  # of encoders: what runs at any runs behind a narrow or a wide one


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a user asks for; the attributes are those of `Run`, with mixers as named and seeds as a number."""

    corpus: str
    speech: str
    text: str | None
    mixers: tuple[str, ...]
    seeds: int
    preset: str
    epochs: int
    batch: int
    learning_rate: float
    crop_seconds: float
    data_seed: int
    missing_text: str
    demo: bool = False


def choose_precision(name: str | None, *, device: str) -> str:
    """Return the precision, by default bfloat16 on a GPU and float32 on a CPU, and compute in it from now on.

    Raises:
        UserError: There is no such precision.
    """
    chosen = name or ("bfloat16" if device == "cuda" else "float32")
    if chosen not in PRECISIONS:
        raise unknown_name("precision", chosen, PRECISIONS)
    if device == "cuda":
        use_precision(chosen)
    return chosen


def start_accelerator(device: str) -> Accelerator:
    """Return what spreads the work over processes, where there are several.

    Whatever else Accelerate is set up for, each learner computes as its run says.

    Where a GPU computes, this process is left one thread on the CPU: several would share the cores with those that read
    audio, and wait for each other whenever a text is copied.
    """
    if device != "cpu":
        torch.set_num_threads(1)
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision="no",
        dynamo_backend="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )


def agree(folder: Path, accelerator: Accelerator) -> Path:
    """Return the main process's folder in every process: a name made of the time may differ."""
    (agreed,) = broadcast_object_list([folder]) if accelerator.num_processes > 1 else [folder]
    return Path(agreed)


def demonstration(folder: Path, *, mixers: str, seeds: int, device: str, write: bool) -> Plan:
    """Return a plan for a synthetic corpus and small encoders.

    Args:
        folder: The run's, beside which they lie.
        mixers: With commas between.
        seeds: How many of each.
        device: ``cuda`` or ``cpu``.
        write: Whether to write them, as one of several processes must.

    Raises:
        UserError: They are there already or cannot be written, or a mixer cannot be trained here.
    """
    choose_implementations(mixers.split(","), "paper", device=device, width=DEMONSTRATION_WIDTH)
    materials = folder.with_name(f"{folder.name}-materials")
    if write:
        _write_materials(materials)
    return Plan(
        corpus=f"msp-podcast:{materials / 'corpus'}",
        speech=str(materials / "speech"),
        text=str(materials / "text"),
        mixers=tuple(mixers.split(",")),
        seeds=seeds,
        preset="paper",
        epochs=8,
        batch=16,
        learning_rate=2e-3,
        crop_seconds=2.0,
        data_seed=0,
        missing_text="error",
        demo=True,
    )


def _write_materials(materials: Path) -> None:
    """Write the demonstration's corpus and encoders, all or nothing."""
    if materials.exists():
        raise UserError(f"the folder {materials} exists", hint="Give another --output.")
    try:
        with whole(materials) as partial:
            write_speech_encoder(partial / "speech", seed=0)
            write_text_encoder(partial / "text", seed=0)
            write_demo_corpus(partial / "corpus", utterances=480, speakers=24, seed=0)
    except (OSError, SafetensorError, UserError) as error:
        reason = getattr(error, "strerror", None) or str(error).replace(str(partial), str(materials))
        raise UserError(f"{materials} cannot be written: {reason}", hint="Give another --output.") from None


def prepare(plan: Plan, *, precision: str, device: str) -> tuple[Run, Corpus, Encoders]:
    """Read the corpus, load the encoders and count parameters; return what is to be trained, on what, and behind what.

    Raises:
        UserError: A choice is unknown, the corpus lacks something, or an encoder cannot be loaded.
    """
    if plan.preset not in PRESETS:
        raise unknown_name("preset", plan.preset, PRESETS)
    if not 0 < plan.learning_rate < 1:
        raise UserError(f"--learning-rate {plan.learning_rate} is none", hint="Give a fraction such as 1e-4.")
    check_seconds([plan.crop_seconds])
    choose_implementations(plan.mixers, plan.preset, device=device)  # so that what cannot be is told at once
    plan = _anywhere(plan)
    corpus = corpora.load(plan.corpus, missing_text=plan.missing_text)
    train, development = corpus.split(TRAIN), corpus.split(DEVELOPMENT)
    if len(train) < plan.batch:
        hint = "Give a smaller --batch or a larger corpus."
        raise UserError(f"{len(train)} training utterances are less than a batch of {plan.batch}", hint=hint)
    encoder, text = load_features(plan.speech, plan.text, device=device, dtype=DTYPES[precision])
    check_whole_files(development)
    if plan.preset == "paper":
        scale = waveform_scale(train)
    else:
        scale = None
        check_recordings([each.audio for each in train])
    speech = SpeechFeatures(encoder, scale=scale, all_layers=plan.preset == "released")
    chosen = choose_implementations(plan.mixers, plan.preset, device=device, width=speech.width)
    fields = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    run = Run(
        **fields
        | {
            "classes": corpus.classes,
            "mixers": chosen,
            "seeds": tuple(range(plan.seeds)),
            "precision": precision,
            "width": speech.width,
            "speech_layers": speech.num_layers,
            "scale": scale,
            "utterances": _digest((*train, *development)),
            "parameters": {},
        }
    )
    run = dataclasses.replace(run, parameters={config.mixer: _count(config) for config, _ in run.models()})
    return run, corpus, (speech, text)


def _anywhere(plan: Plan) -> Plan:
    """Return the plan with whole paths, so that a run can be gone on with from any folder."""
    kind, colon, path = plan.corpus.partition(":")
    encoders = {name: _absolute(name) for name in (plan.speech, plan.text) if name is not None}
    return dataclasses.replace(
        plan,
        corpus=f"{kind}{colon}{Path(path).absolute()}" if path else plan.corpus,
        speech=encoders[plan.speech],
        text=None if plan.text is None else encoders[plan.text],
    )


def _absolute(name: str) -> str:
    return str(Path(name).absolute()) if Path(name).is_dir() else name


def take_up(folder: Path, *, device: str) -> tuple[Run, Corpus]:
    """Return a run that was interrupted and its corpus, and compute in the run's precision from now on.

    Raises:
        UserError: It is no run, cannot be trained here, or its corpus lacks something or is not the same any more.
    """
    run = runs.read(folder)
    choose_implementations(run.mixers, run.preset, device=device, width=run.width)
    choose_precision(run.precision, device=device)
    corpus = corpora.load(run.corpus, missing_text=run.missing_text)
    if run.utterances != _digest((*corpus.split(TRAIN), *corpus.split(DEVELOPMENT))):
        raise UserError(f"{run.corpus} is not what {folder} was begun with", hint="Restore it, or begin a new run.")
    return run, corpus


def _digest(utterances: Sequence[Utterance]) -> str:
    """Return what changes with anything that is learned from, but for the samples of the audio."""
    facts = [(each.name, each.text, each.label, each.speaker, each.split) for each in utterances]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def choose_implementations(
    names: Sequence[str], preset: str, *, device: str, width: int | None = None
) -> tuple[str, ...]:
    """Return each mixer with its implementation, as `choose_implementation` does.

    Raises:
        UserError: One is unknown, cannot be trained here, or is named twice.
    """
    chosen = tuple(choose_implementation(name.strip(), preset, device=device, width=width) for name in names)
    if len({name.partition("/")[0] for name in chosen}) < len(chosen):
        hint = "Give each mixer once, in one implementation."
        raise UserError(f"one mixer is given twice: {', '.join(names)}", hint=hint)
    return chosen


def choose_implementation(name: str, preset: str, *, device: str, width: int | None = None) -> str:
    """Return a mixer with its implementation: the one named, or the fastest that can be trained here.

    Args:
        name: With or without an implementation.
        preset: Of the model.
        device: Where.
        width: D, of the encoders; None, before it is known, for any.

    Raises:
        UserError: It is unknown, or cannot be trained here.
    """
    mixer_name, _, implementation = name.partition("/")
    try:
        mixer = mixers.load(mixer_name)
    except ImportError as error:
        raise UserError(f"{mixer_name} is unavailable: {error}", hint="Install what it needs.") from None
    config = mixer.presets[STACKS[preset]]
    configs = [dataclasses.replace(config, width=each) for each in ((width,) if width else _ANY_WIDTH)]
    device_type = device.partition(":")[0]
    known = tuple(mixer.implementations)
    if implementation and implementation not in known:
        raise unknown_name(f"implementation of {mixer_name}", implementation, known)
    preferred = (implementation,) if implementation else (*reversed(mixer.defaults(configs[-1])), *reversed(known))
    for each in preferred:
        reasons = [mixer.unavailable(each, config, device_type=device_type) for config in configs]
        if not all(reasons):
            return f"{mixer_name}/{each}"
    hint = f"Give {mixer_name} alone, for an implementation that can."
    raise UserError(f"{name} cannot be trained here: {reasons[-1]}", hint=hint)


def _count(config: ModelConfig) -> int:
    with torch.device("meta"):
        return build(dataclasses.replace(config, implementation="reference"), seed=0).parameter_count()
