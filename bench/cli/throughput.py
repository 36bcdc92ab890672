"""The command `throughput`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.accuracy_options import DIRECTION, GROUPS, MIXERS, WORKERS, Device, Seeds, Workers
from bench.cli.app import Plugins, Quiet, app
from bench.cli.parsing import split_mixers
from bench.files import make_folder_for

if TYPE_CHECKING:
    from bench.accuracy.training.rates import Rate, ScoringRate

_DIRECTION = f"{DIRECTION}; see `sbench train --explain`."
_TEXT = "A text encoder; bert-large-random needs no download."


Utterances = Annotated[
    int, typer.Option(help="Size of the synthetic corpus that is made for it.", min=64, max=1_000_000)
]


@app.command(rich_help_panel="Tools")
def throughput(
    speech: Annotated[str, typer.Option(help="A speech encoder; xlsr-random needs no download.")] = "xlsr-random",
    text: Annotated[str, typer.Option(help=_TEXT)] = "bert-large-random",
    mixers: Annotated[str, typer.Option(help=f"Comma-separated. {GROUPS}")] = MIXERS,
    seeds: Seeds = 1,
    direction: Annotated[str, typer.Option(help=_DIRECTION)] = "alternating",
    steps: Annotated[int, typer.Option(help="Timed steps of each way of training.", min=1, max=1_000_000)] = 40,
    batch: Annotated[int, typer.Option(help="Utterances in one step.", min=1, max=1_000_000)] = 32,
    crop: Annotated[float, typer.Option(help="Seconds of each utterance.")] = 5.5,
    together: Annotated[bool, typer.Option("--together", help="Do not measure each mixer alone.")] = False,
    utterances: Utterances = 2800,
    workers: Workers = WORKERS,
    device: Device = "auto",
    plugin: Plugins = None,
    output: Annotated[Path, typer.Option(help="JSON file for the figures.")] = Path("throughput.json"),
    quiet: Quiet = False,
) -> None:
    """Measure how fast all mixers train and score on one pass of the encoders, and one after another in float32.

    With `accelerate launch -m bench.cli throughput` on several GPUs, it measures how fast they are together.
    """
    from rich.console import Console

    import mixers as registry
    from bench.accuracy.run import choose_direction
    from bench.accuracy.training.computing import start_accelerator
    from bench.accuracy.training.events import Preparing
    from bench.accuracy.training.throughput import measure
    from bench.environment import choose_device

    registry.use_files(plugin or ())
    make_folder_for(output)
    accelerator = start_accelerator(choose_device(device))
    console = Console(stderr=True, quiet=quiet or not accelerator.is_main_process)
    events = measure(
        speech=speech,
        text=text,
        mixers=split_mixers(mixers),
        seeds=seeds,
        direction=choose_direction(direction, "matched"),
        batch=batch,
        crop_seconds=crop,
        utterances=utterances,
        steps=steps,
        alone=not together,
        accelerator=accelerator,
        workers=workers,
    )
    with console.status("") as status:
        for event in events:
            if isinstance(event, Preparing):
                status.update(event.task)
            else:
                console.print(f"{event.name}: {_describe(event.rate)}", highlight=False)
                faster = event.throughput.times_faster
                if accelerator.is_main_process:
                    event.throughput.write(output)  # each time, so that an interruption keeps what was measured
    if faster is not None:
        console.print(f"together {faster:.1f} times as fast as one after another", highlight=False)
    if accelerator.is_main_process:
        print(output)
    accelerator.end_training()


def _describe(rate: "Rate | ScoringRate") -> str:
    from bench.accuracy.training.rates import Rate

    busy = "" if rate.gpu_busy is None else f"; GPU busy {rate.gpu_busy:.0%}"
    if not isinstance(rate, Rate):
        return f"{rate.utterances_per_s:.1f} recordings/s, the first time {rate.first_utterances_per_s:.1f}{busy}"
    steps = ", ".join(f"{name} {ms:.0f}" for name, ms in rate.step_ms.items())
    parts = f"ms: load {rate.load_ms:.0f}, encode {rate.encode_ms:.0f}, {steps}{busy}"
    return f"{rate.utterances_per_s:.1f} utterances/s; {parts}"
