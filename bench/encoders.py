"""The frozen speech encoder in front of the mixers: a waveform goes in, its features (1, L, D) come out.

Encoders of wav2vec 2.0's family (XLS-R, WavLM, HuBERT) hear the waveform itself. Whisper's hears log-mel spectrograms
of windows of 30 s; `bench.whisper` says how.

transformers is imported where it is used: the import takes seconds, and most sweeps need no encoder.
"""

import math
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bench import whisper
from bench.hub import locate, one_line
from bench.random_encoders import RANDOM_ENCODERS
from bench.speech import FRAME_SAMPLES, HOP_SAMPLES, SAMPLE_RATE, frames_of
from mixers.support.errors import UserError

# Short names of the paper's encoders.
SHORT_NAMES = {
    "wavlm-large": "microsoft/wavlm-large",
    "wav2vec2-xlsr": "facebook/wav2vec2-xls-r-300m",
    "wav2vec2-large": "facebook/wav2vec2-large-lv60",
    "hubert-large": "facebook/hubert-large-ll60k",
}

# What transformers' feature extractor adds to the variance. It also avoids 0 / 0 for silence.
_VARIANCE_FLOOR = 1e-7

# The files in which transformers saves a feature extractor: alone, or, since 5.0, as part of a processor.
_EXTRACTOR_FILES = ("preprocessor_config.json", "processor_config.json")

_RANDOM = " or ".join(RANDOM_ENCODERS)
_INSTEAD = "xlsr-random needs no download."

_HINT = (
    f"Give {', '.join(SHORT_NAMES)}, a Hugging Face id such as openai/whisper-base, the folder of a saved model, or "
    f"{_RANDOM}, which needs no download."
)

EncoderLayer = int | Literal["last", "all", "every"]


@dataclass(frozen=True, kw_only=True)
class SpeechEncoder:
    """A frozen speech encoder, in evaluation mode.

    Attributes:
        name: The name that it was loaded by: an id on the Hugging Face hub, a folder or one of `RANDOM_ENCODERS`.
        width: Features per frame, D.
        normalises: Whether it needs waveforms of zero mean and unit variance.
        log_mel: Whether it hears log-mel spectrograms, as Whisper does. Its waveforms must then stay as recorded, since
            the spectrogram has a scale of its own.
        model: The network.
    """

    name: str
    width: int
    normalises: bool
    log_mel: bool = False
    model: nn.Module

    @property
    def num_layers(self) -> int:
        """The number of hidden layers, Z."""
        model: Any = self.model
        return int(model.config.num_hidden_layers)

    def frames(self, samples: int) -> int:
        """Return the frames L of a waveform of 400 samples or more.

        floor((samples - 400) / 320) + 1; for Whisper floor(samples / 320).
        """
        return samples // HOP_SAMPLES if self.log_mel else frames_of(samples)

    @property
    def hears_padding(self) -> bool:
        """Whether zeros behind a waveform would change the features of its own frames.

        They do where the convolutions are normalised over time. Other encoders hide them, and Whisper pads every
        waveform in the same way.
        """
        config: Any = self.model.config
        return not self.log_mel and getattr(config, "feat_extract_norm", None) != "layer"

    def __call__(self, waveform: Float[Tensor, " samples"]) -> Float[Tensor, "1 L D"]:
        """Return the features of a waveform: the last layer, after its final normalisation, float32.

        Args:
            waveform: At 16 kHz, full scale 1, on any device, at least 400 samples.

        Returns:
            Features on the encoder's device, as an ordinary tensor that a training step may save for its backward pass.

        Raises:
            UserError: The encoder does not return `frames` frames.
            torch.OutOfMemoryError: The waveform is too long for the device.
        """
        parameter = next(self.model.parameters())
        with torch.inference_mode():
            waveform = waveform.to(parameter.device, torch.float32)
            if self.normalises:
                waveform = normalise(waveform)
            features = self.encode(waveform.unsqueeze(0), layer="last")  # (1, L, D)
        return features.to(torch.float32, copy=True)

    def encode(
        self,
        waveforms: Float[Tensor, "B samples"],
        *,
        layer: EncoderLayer,
        mask: Bool[Tensor, "B samples"] | None = None,
    ) -> Float[Tensor, "B *Z L D"]:
        """Return the features of prepared waveforms, in the encoder's precision.

        Args:
            waveforms: At 16 kHz, float32, on the encoder's device, at least 400 samples, and of zero mean and unit
                variance if the encoder `normalises`.
            layer: ``last``: the last layer, after the encoder's final normalisation. N: the output of hidden layer N,
                before that normalisation; 0 is what enters the first layer. ``all``: those of the layers 1 to Z.
                ``every``: the same and then ``last``.
            mask: True on real samples, (B, samples), behind which there are zeros; None if all are real. The encoder
                must not be one that `hears_padding`.

        Returns:
            (B, L, D); of all layers (B, Z, L, D), of every one (B, Z + 1, L, D). Frames of padding are undefined.

        Raises:
            UserError: The encoder does not return `frames` frames.
            torch.OutOfMemoryError: The waveforms are too long for the device.
        """
        options: dict[str, Any] = {} if layer == "last" else {"output_hidden_states": True}
        if not self.log_mel:
            waveforms = waveforms.to(next(self.model.parameters()).dtype)
            options |= {} if mask is None else {"attention_mask": mask.long()}
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # torch's, of the masks that WavLM passes
            output = self.model(waveforms, **options)
        features: Tensor = output.last_hidden_state  # (B, L, D)
        if isinstance(layer, int):
            features = output.hidden_states[layer]
        elif layer != "last":
            features = torch.stack([*output.hidden_states[1:], *([features] if layer == "every" else [])], dim=1)
        expected = (*features.shape[:-2], self.frames(waveforms.shape[1]), self.width)
        if features.shape != expected:
            message = f"{self.name} returns features of shape {tuple(features.shape)} instead of {expected}"
            raise UserError(message, hint=_HINT)
        return features


def normalise(waveform: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """Return a waveform with zero mean and unit variance, as XLS-R's feature extractor does."""
    variance, mean = torch.var_mean(waveform, correction=0)
    return (waveform - mean) / torch.sqrt(variance + _VARIANCE_FLOOR)


def load_encoder(
    name: str, *, width: int | None, device: torch.device | str, dtype: torch.dtype, seed: int
) -> SpeechEncoder:
    """Load a frozen speech encoder.

    Args:
        name: One of `SHORT_NAMES` or `RANDOM_ENCODERS`, an id on the Hugging Face hub, or the folder of a saved model
            or of Whisper's encoder saved alone.
        width: Features per frame that the mixers need, D; None for any width.
        device: The device it runs on.
        dtype: The type it computes in.
        seed: Seed of random weights; torch's global generators are not changed.

    Raises:
        UserError: No encoder of that name can be loaded, it does not make a frame every 320 samples, it lacks weights
            or its feature extractor, or it has another width.
    """
    name = SHORT_NAMES.get(name, name)
    if random := RANDOM_ENCODERS.get(name):
        config = random.config()
        _check_config(name, config, width=width)
        model, normalises = random.build(config, seed=seed), random.normalises
    else:
        model, normalises = _saved_model(name, width=width, dtype=dtype)
    model = model.eval().requires_grad_(False).to(device, dtype)
    built: Any = model.config
    log_mel = isinstance(model, whisper.WhisperOfWaveforms)
    return SpeechEncoder(name=name, width=built.hidden_size, normalises=normalises, log_mel=log_mel, model=model)


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """What an encoder's configuration says.

    Attributes:
        width: Features per frame, D.
        window_s: Seconds of audio that it always hears at once, as Whisper does; None if it hears any length.
    """

    width: int
    window_s: float | None


def encoder_shape(name: str) -> EncoderShape:
    """Return the shape of an encoder, without loading its weights.

    Raises:
        UserError: As for `load_encoder`.
    """
    name = SHORT_NAMES.get(name, name)
    config = RANDOM_ENCODERS[name].config() if name in RANDOM_ENCODERS else _saved_config(name)[0]
    _check_config(name, config, width=None)
    is_whisper = config.model_type == "whisper"
    window_s = config.max_source_positions * HOP_SAMPLES / SAMPLE_RATE if is_whisper else None
    return EncoderShape(width=config.hidden_size, window_s=window_s)


def _saved_config(name: str) -> tuple[Any, str, dict[str, Any]]:
    """Return the configuration of a saved model, the hint for a model that cannot be loaded, and how to load it."""
    from transformers import AutoConfig

    local_files_only, hint = locate(name, hint=_HINT, instead=_INSTEAD)
    options: dict[str, Any] = {"local_files_only": local_files_only, "trust_remote_code": False}
    with one_line(name, hint=hint):
        return AutoConfig.from_pretrained(name, **options), hint, options


def _saved_model(name: str, *, width: int | None, dtype: torch.dtype) -> tuple[nn.Module, bool]:
    """Return a saved model with all its weights, and whether it needs normalised waveforms."""
    from transformers import AutoModel

    config, hint, options = _saved_config(name)
    _check_config(name, config, width=width)
    if config.model_type == "whisper":
        return _whisper(name, config, dtype=dtype, hint=hint, **options), False
    with one_line(name, hint=hint):
        model, report = AutoModel.from_pretrained(name, config=config, dtype=dtype, output_loading_info=True, **options)
    _check_weights(name, set(report["missing_keys"]) - {"masked_spec_embed"})  # used only in training
    return model, _normalises(name, local_files_only=options["local_files_only"], hint=hint)


def _whisper(name: str, config: Any, *, dtype: torch.dtype, hint: str, **options: Any) -> nn.Module:
    """Return Whisper's encoder with all its weights, behind its feature extractor."""
    with one_line(name, hint=hint):
        extractor = whisper.load_extractor(name, config, saved=_has_extractor(name), hint=hint, **options)
    with one_line(name, hint=hint):
        encoder, report = whisper.load_weights(name, config, dtype=dtype, **options)
    _check_weights(name, report["missing_keys"])
    return whisper.WhisperOfWaveforms(encoder, extractor)


def _check_weights(name: str, missing: Collection[str]) -> None:
    """Refuse an encoder of which weights are missing: they would be random."""
    if missing:
        message = f"{name} lacks {len(missing)} of the encoder's weights, for instance {min(missing)}"
        raise UserError(message, hint=_HINT)


def _has_extractor(name: str) -> bool:
    """Return whether a model comes with a feature extractor; on the hub every one does."""
    return not Path(name).is_dir() or any(Path(name, file).is_file() for file in _EXTRACTOR_FILES)


def _normalises(name: str, *, local_files_only: bool, hint: str) -> bool:
    """Return whether a saved encoder needs normalised waveforms.

    A folder with only the model has no feature extractor. It gets transformers' default, which is yes.
    """
    from transformers import Wav2Vec2FeatureExtractor

    if not _has_extractor(name):
        return True
    with one_line(name, hint=hint):
        extractor = Wav2Vec2FeatureExtractor.from_pretrained(name, local_files_only=local_files_only)
    if extractor.sampling_rate != SAMPLE_RATE:
        raise UserError(f"{name} needs audio at {extractor.sampling_rate} Hz, not {SAMPLE_RATE}", hint=_HINT)
    return bool(extractor.do_normalize)


def _check_config(name: str, config: Any, *, width: int | None) -> None:
    """Check that a model returns `width` features for every 320 samples, before its weights are loaded."""
    if config.model_type != "whisper":  # whose frames follow from its feature extractor
        _check_convolutions(name, config)
    if width is not None and config.hidden_size != width:
        message = f"{name} has {config.hidden_size} features per frame, the mixers {width}"
        raise UserError(message, hint=f"Measure at its width: --width {config.hidden_size}. {_HINT}")


def _check_convolutions(name: str, config: Any) -> None:
    """Check that a model sees 400 samples of a waveform every 320."""
    kernels, strides = getattr(config, "conv_kernel", None), getattr(config, "conv_stride", None)
    if not isinstance(kernels, list | tuple) or not isinstance(strides, list | tuple):
        raise UserError(f"{name} is a {config.model_type} model, not an encoder of waveforms", hint=_HINT)
    field = 1 + sum((kernel - 1) * math.prod(strides[:layer]) for layer, kernel in enumerate(kernels))
    if (field, math.prod(strides)) != (FRAME_SAMPLES, HOP_SAMPLES):
        message = f"{name} sees {field} samples every {math.prod(strides)}, not {FRAME_SAMPLES} every {HOP_SAMPLES}"
        raise UserError(message, hint=_HINT)
