"""The frozen encoders in front of every mixer: each batch is encoded once for all learners.

They stay in evaluation mode, have no gradients, and are in no optimiser. Their features are checked for finite values.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bench.accuracy.inputs.random_encoders import random_bert
from bench.accuracy.parts import Layer
from bench.accuracy.run import Run, WaveformScale
from bench.encoders import EncoderLayer, SpeechEncoder, load_encoder, normalise
from bench.hub import hide_progress_bars, locate, one_line
from mixers.support.errors import UserError
from mixers.support.precision import DTYPES

TEXT = "bert-large-uncased"
TEXT_RANDOM = "bert-large-random"  # its architecture with random weights, which needs no download

LONGEST_TEXT = 512  # tokens that BERT has positions for, including [CLS] and [SEP]

_TEXT_BATCH = 64


class SpeechFeatures:
    """Encodes batches of equally long waveforms with a frozen encoder."""

    def __init__(self, encoder: SpeechEncoder, *, scale: WaveformScale | None, layer: Layer | Literal["every"]) -> None:
        """Wrap an encoder.

        Args:
            encoder: In evaluation mode.
            scale: The scale of the training set. None to normalise each waveform by itself, if the encoder needs it.
            layer: The layer to return; ``weighted`` for all hidden ones, of which the classifier makes a sum; ``every``
                for all hidden ones and then the last, (B, Z + 1, M, D).

        Raises:
            UserError: The encoder has no such layer.
        """
        if layer != "every":
            check_layer(layer, encoder)
        self._encoder = encoder
        self._scale = scale
        self._layer: EncoderLayer = "all" if layer == "weighted" else layer
        self.width = encoder.width
        self.num_layers = encoder.num_layers

    @property
    def bytes_per_frame(self) -> int:
        """What the features of one frame take in memory."""
        layers = {"all": self.num_layers, "every": self.num_layers + 1}.get(str(self._layer), 1)
        return layers * self.width * next(self._encoder.model.parameters()).element_size()

    def frames(self, samples: int) -> int:
        """Return the frames M of a waveform of 400 samples or more."""
        return self._encoder.frames(samples)

    @property
    def hears_padding(self) -> bool:
        """As of `SpeechEncoder`: whether only equally long waveforms may share a batch."""
        return self._encoder.hears_padding

    @torch.no_grad()
    def __call__(
        self, waveforms: Float[Tensor, "B samples"], names: Sequence[str], lengths: Sequence[int] | None = None
    ) -> Float[Tensor, "B *Z M D"]:
        """Return the features, on the encoder's device and in its precision.

        Args:
            waveforms: At 16 kHz; full scale is 1; at least 400 samples; zeros behind shorter ones.
            names: The names of the utterances, for messages.
            lengths: The samples of each without those zeros; None if there are none. Frames of padding hold no defined
                values, and the other frames what the waveform gives alone.

        Raises:
            UserError: An utterance's features are not finite.
        """
        device = next(self._encoder.model.parameters()).device
        waveforms = waveforms.to(device, torch.float32, non_blocking=True)
        mask = None if lengths is None else real(lengths, waveforms.shape[1], device=device)
        if self._scale is not None:
            waveforms = (waveforms - self._scale.mean) / self._scale.deviation
        elif self._encoder.normalises:
            waveforms = _normalise(waveforms, lengths)
        if mask is not None:
            waveforms = waveforms * mask
        features = self._encoder.encode(waveforms, layer=self._layer, mask=mask)  # (B, M, D), or (B, Z, M, D)
        _check_finite(features, names, self._encoder.name)
        return features


def real(lengths: Sequence[int], size: int, *, device: torch.device) -> Bool[Tensor, "B size"]:
    """Return a mask of what is real in sequences that are padded to one size."""
    return torch.arange(size, device=device) < torch.tensor(lengths).to(device, non_blocking=True)[:, None]


def _normalise(waveforms: Float[Tensor, "B samples"], lengths: Sequence[int] | None) -> Float[Tensor, "B samples"]:
    """Bring the real samples of each waveform to zero mean and unit variance."""
    if lengths is None:
        return torch.stack([normalise(waveform) for waveform in waveforms])
    out = torch.zeros_like(waveforms)
    for row, waveform, length in zip(out, waveforms, lengths, strict=True):
        row[:length] = normalise(waveform[:length])
    return out


class TextFeatures:
    """Encodes texts with a frozen BERT, each text once; the features are kept on the CPU."""

    def __init__(self, name: str, *, device: str, dtype: torch.dtype) -> None:
        """Load tokenizer and model.

        Args:
            name: An id on the Hugging Face hub, the folder of a saved model and its tokenizer, or
                ``bert-large-random``.
            device: The device it runs on.
            dtype: The type it computes in.

        Raises:
            UserError: No text encoder of that name can be loaded.
        """
        self.name = name
        self._tokenizer, model = _random_text_encoder() if name == TEXT_RANDOM else _saved_text_encoder(name, dtype)
        self._model = model.eval().requires_grad_(False).to(device, dtype)
        self.width: int = model.config.hidden_size
        self._kept: dict[str, Tensor] = {}

    def prepare(self, texts: Sequence[str]) -> None:
        """Encode the texts that have not been encoded yet."""
        # Sorted by length for little padding, and always in the same batches, since the last digits depend on them.
        missing = sorted(set(texts) - self._kept.keys(), key=lambda text: (len(text), text))
        for start in range(0, len(missing), _TEXT_BATCH):
            self._encode(missing[start : start + _TEXT_BATCH])

    def forget(self) -> None:
        """Forget all features, so that every text is encoded again."""
        self._kept.clear()

    def __call__(
        self, texts: Sequence[str], *, multiple: int = 1
    ) -> tuple[Float[Tensor, "B N D"], Bool[Tensor, "B N"]]:
        """Return the features of prepared texts, padded at the end, and a mask of the real tokens.

        Args:
            texts: A batch.
            multiple: N becomes a multiple of this, so that kernels see few lengths.
        """
        features = [self._kept[text] for text in texts]  # (N, D) each
        longest = max(len(each) for each in features)
        size = -(-longest // multiple) * multiple
        # Not pad_sequence, which knows no multiple: padding its result again would copy the whole batch twice.
        padded = features[0].new_zeros(len(features), size, self.width)
        mask = torch.zeros(len(features), size, dtype=torch.bool)
        for row, each in enumerate(features):
            padded[row, : len(each)] = each
            mask[row, : len(each)] = True
        return padded, mask

    @torch.no_grad()
    def _encode(self, texts: Sequence[str]) -> None:
        device = next(self._model.parameters()).device
        # A truncated text keeps its closing [SEP]: the tokenizer leaves room for it.
        tokens = self._tokenizer(
            list(texts), return_tensors="pt", padding=True, truncation=True, max_length=LONGEST_TEXT
        ).to(device)
        features = self._model(**tokens).last_hidden_state  # (B, N, D)
        _check_finite(features, texts, self.name)
        for text, row, real in zip(texts, features.cpu(), tokens["attention_mask"].bool().cpu(), strict=True):
            self._kept[text] = row[real].clone()


def _saved_text_encoder(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    hint = f"Give a Hugging Face id such as {TEXT}, a saved model's folder, {TEXT_RANDOM}, or --no-text."
    local_files_only, hint = locate(name, hint=hint, instead=f"{TEXT_RANDOM} and --no-text need no download.")
    with one_line(name, hint=hint):
        model, report = AutoModel.from_pretrained(
            name, dtype=dtype, output_loading_info=True, local_files_only=local_files_only
        )
        if model.main_input_name != "input_ids":
            raise UserError(f"{name} is a {model.config.model_type} model, not a text encoder", hint=hint)
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local_files_only)
    if tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):  # what transformers makes of no file
        raise UserError(f"{name} has no tokenizer", hint="Save the model's tokenizer into the same folder.")
    missing = sorted(
        key for key in report["missing_keys"] if not key.startswith("pooler.")
    )  # the pooler's output is not used
    if missing:
        message = f"{name} lacks {len(missing)} of the text encoder's weights, for instance {missing[0]}"
        raise UserError(message, hint="They would be random. Save the complete model, or give another one.")
    return tokenizer, model


def _random_text_encoder() -> tuple[Any, Any]:
    """Return BERT-large with random weights (Devlin et al. 2019, arXiv 1810.04805, section 3)."""
    return random_bert(seed=0, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)


Encoders = tuple[SpeechFeatures, TextFeatures | None]  # no text encoder for speech alone


def load_features(
    speech: str, text: str | None, *, device: str, dtype: torch.dtype
) -> tuple[SpeechEncoder, TextFeatures | None]:
    """Load both encoders by short name, id or folder.

    Args:
        speech: For instance ``wavlm-large``.
        text: For instance ``bert-large-uncased``; None for speech alone.
        device: The device they run on.
        dtype: The type they compute in.

    Raises:
        UserError: An encoder cannot be loaded, ``speech`` is no encoder of waveforms, or their widths differ.
    """
    hide_progress_bars()
    encoder = load_encoder(speech, width=None, device=device, dtype=dtype, seed=0)
    texts = None if text is None else TextFeatures(text, device=device, dtype=dtype)
    if texts is not None and texts.width != encoder.width:
        hint = "Choose two encoders of the same width, or --no-text."
        raise UserError(f"{speech} has {encoder.width} features per frame, {text} has {texts.width}", hint=hint)
    return encoder, texts


def check_layer(layer: Layer, encoder: SpeechEncoder) -> None:
    """Check that an encoder has a layer.

    Raises:
        UserError: It has not.
    """
    if isinstance(layer, int) and not 0 <= layer <= encoder.num_layers:
        hint = f"Give --layer 1 to {encoder.num_layers}, 0 for what enters the first, last, or weighted."
        raise UserError(f"{encoder.name} has no layer {layer}", hint=hint)


def check_encoders(run: Run, *, needed_by: Path) -> None:
    """Check that the folders of a run's encoders are where they were. Ids on the Hugging Face hub are not looked up.

    Raises:
        UserError: One is not.
    """
    for name in (run.speech, run.text):
        if name is not None and Path(name).is_absolute() and not Path(name).is_dir():
            hint = "Move the encoder's folder back to that path, or link it there."
            raise UserError(f"{needed_by} needs the encoder {name}, which is not there", hint=hint)


def open_encoders(run: Run, *, device: str) -> Encoders:
    """Load the encoders of a run.

    Raises:
        UserError: An encoder cannot be loaded.
    """
    encoder, text = load_features(run.speech, run.text, device=device, dtype=DTYPES[run.precision])
    return SpeechFeatures(encoder, scale=run.scale, layer=run.layer), text


def _check_finite(features: Tensor, names: Sequence[str], encoder: str) -> None:
    finite = torch.isfinite(features).flatten(1).all(1)
    if not finite.all():
        name = names[int(finite.logical_not().nonzero()[0])]
        hint = "Encode in float32 or bfloat16; check the audio with `sbench corpus`."
        raise UserError(f"{encoder} gives features of {name!r} that are not finite", hint=hint)
