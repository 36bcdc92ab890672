"""What the presets are, in words, and where each part comes from: for `sbench train --explain`. Imports no torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the training.

    Attributes:
        name: The part.
        matched, released: Its form in each preset.
        source: Where the form in ``matched`` comes from: the paper's text; its code, where the text is silent; or ours,
            where neither decides.
    """

    name: str
    matched: str
    source: Literal["text", "code", "ours"]
    released: str


_SAME = "the same"

DIFFERENCES: tuple[Part, ...] = (
    Part(
        name="size of the mixer",
        matched="20 M parameters, four heads",
        source="text",
        released="2.4 M to 8.4 M parameters",
    ),
    Part(
        name="around the mixer",
        matched="two pre-norm blocks with SwiGLU",
        source="ours",
        released="nothing: the bare layer",
    ),
    Part(
        name="direction by default",
        matched="alternating",
        source="ours",
        released="paper, as the code does; the text names none",
    ),
    Part(
        name="layer of the speech encoder by default",
        matched="all hidden layers, summed with trained weights; the text names none",
        source="code",
        released=_SAME,
    ),
    Part(
        name="layer norms on speech and text",
        matched="one for each, trained, as the sum needs one",
        source="code",
        released=_SAME,
    ),
    Part(
        name="dropout of 0.4",
        matched="on the input of each block's mixer",
        source="text",
        released="on the input of the bare layer",
    ),
    Part(
        name="waveforms",
        matched="mean and deviation of the training set",
        source="text",
        released="each to zero mean and unit variance, if its encoder needs it",
    ),
    Part(
        name="waveforms before Whisper",
        matched="as recorded, since its spectrogram has a scale of its own",
        source="ours",
        released=_SAME,
    ),
    Part(
        name="scores of the pooling",
        matched="divided by the root of D (equation 3)",
        source="text",
        released="not divided",
    ),
    Part(
        name="classifier",
        matched="dropout, layer norm and GELU",
        source="text",
        released=_SAME,
    ),
    Part(
        name="depth of the classifier",
        matched="five hidden layers of 512; the text names none",
        source="code",
        released=_SAME,
    ),
    Part(
        name="loss",
        matched="cross-entropy, classes weighted by inverse frequency; the text names none",
        source="code",
        released=_SAME,
    ),
    Part(
        name="optimiser",
        matched="AdamW at 1e-4, batches of 32, 20 epochs",
        source="text",
        released=_SAME,
    ),
    Part(
        name="weight decay",
        matched="0.01",
        source="code",
        released=_SAME,
    ),
    Part(
        name="learning rate",
        matched="halved after 5 epochs without a better development macro-F",
        source="text",
        released="the same; the paper's code evaluates every 2,000 steps and halves after 2 evaluations",
    ),
    Part(
        name="order and crops",
        matched="each seed draws its own; the text says nothing of seeds",
        source="ours",
        released=_SAME,
    ),
    Part(
        name="scoring",
        matched="whole files, in batches whose padding no model sees",
        source="text",
        released=_SAME,
    ),
)

# What the paper's code does that its text does not say or contradicts, and that changes the scores it publishes.
MOVES: tuple[str, ...] = (
    "It scores the test sets on random crops of 5.5 s. Here every split is scored on whole files, as the text says.",
    "It leaves the frozen encoders in training mode, so their dropout is on. Here it is off.",
    "The mixer and the pooling see the padding of the text. Here it is hidden from them.",
    "On four GPUs, each gets the same batches. Here they share the encoding of every batch.",
    "It does not normalise by the training set, as the text says. Here matched does, and released does not.",
    "It trains the sum of layers and the layer norms, as do both presets here. The text counts neither as trained.",
)

# What the order of the inputs means in each direction.
ORDER_OF_INPUTS: tuple[str, ...] = (
    "The mixer reads U = [S; E] in every direction: speech first, text last.",
    "A block that runs backward in time reads all of U from its end, so it begins with the text.",
    "Where a frame sees only the past, no frame of speech sees the text or later speech.",
    "There, frames of text see all speech.",
    "This holds for every mixer in causal, and for all but softmax attention in paper.",
    "In both, and in alternating after two blocks, every frame sees all speech and all text.",
    "The bare layer of released is one block, so there alternating computes the same as paper.",
    "The paper's text states U = [S; E], and no direction.",
    "The paper's code does as paper: text last, attention sees everything, the five others see the past.",
)
