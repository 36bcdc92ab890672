"""Whisper's encoder as an encoder of waveforms (Radford et al., 2022, arXiv 2212.04356, section 2.2).

Whisper hears log-mel spectrograms of windows of 30 s; transformers' own feature extractor makes them. A shorter
recording is padded with silence, which the encoder's attention sees, as it did in training. Only the frames of the
recording itself go on: one for every 320 samples, so 10 s are 500 frames.

A longer recording goes through in windows of 30 s, one after the other, without overlap. At each seam both sides are
encoded by themselves: no frame sees beyond its window, and positions begin again. The last window is padded.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bench.speech import HOP_SAMPLES, SAMPLE_RATE
from mixers.support.errors import UserError

# The mel counts of OpenAI's models (80 up to large-v2, 128 from large-v3 on). Apart from it their extractors are equal.
_STANDARD_MELS = (80, 128)

_STRIDE = 2  # of the encoder's second convolution: a frame for every two columns of the spectrogram


class WhisperOfWaveforms(nn.Module):
    """The encoder behind its feature extractor, called as transformers' wav2vec 2.0 is."""

    def __init__(self, encoder: nn.Module, extractor: Any) -> None:
        """Put them together.

        Args:
            encoder: A `transformers` WhisperEncoder.
            extractor: The `transformers.WhisperFeatureExtractor` of its model.
        """
        super().__init__()
        self.encoder = encoder
        self.config: Any = encoder.config
        self._extractor = extractor

    def forward(self, waveforms: Float[Tensor, "B samples"], *, output_hidden_states: bool = False) -> Any:
        """Encode equally long waveforms.

        A waveform with zeros at its end gives the frames of the recording without them, and then frames of silence.

        Args:
            waveforms: At 16 kHz, full scale 1, float32: at least 320 samples.
            output_hidden_states: Whether to return the hidden layers too.

        Returns:
            A `transformers` BaseModelOutput. `last_hidden_state`: (B, L, D), L = floor(samples / 320), after the final
            layer norm. `hidden_states`: what enters the first layer, then what each layer makes, before that norm.
        """
        from transformers.modeling_outputs import BaseModelOutput

        window = HOP_SAMPLES * self.config.max_source_positions
        pieces = [piece for piece in torch.split(waveforms, window, dim=1) if piece.shape[1] >= HOP_SAMPLES]
        encoded = [self._window(piece, output_hidden_states=output_hidden_states) for piece in pieces]
        last, *hidden = (torch.cat(layer, dim=1) for layer in zip(*encoded, strict=True))
        return BaseModelOutput(last_hidden_state=last, hidden_states=tuple(hidden) or None)

    def _window(self, piece: Float[Tensor, "B samples"], *, output_hidden_states: bool) -> tuple[Tensor, ...]:
        """Return the last layer of one window and, if wanted, the hidden ones: its real frames, (B, L, D) each."""
        weights = next(self.encoder.parameters())
        spectrogram = self.spectrogram(piece)
        output = self.encoder(spectrogram.to(weights.device, weights.dtype), output_hidden_states=output_hidden_states)
        frames = piece.shape[1] // HOP_SAMPLES
        layers: tuple[Tensor, ...] = (output.last_hidden_state, *(output.hidden_states or ()))
        return tuple(layer[:, :frames] for layer in layers)

    def spectrogram(self, piece: Float[Tensor, "B samples"]) -> Float[Tensor, "B mels columns"]:
        """Return what the encoder hears of one window: padded with silence to 30 s, or cut to it, and in float32."""
        device = next(self.encoder.parameters()).device
        waveforms = list(piece.cpu().numpy())
        extracted = self._extractor(waveforms, sampling_rate=SAMPLE_RATE, return_tensors="pt", device=str(device))
        return extracted.input_features  # type: ignore[no-any-return]


def load_weights(name: str, config: Any, **options: Any) -> tuple[nn.Module, dict[str, Any]]:
    """Load the encoder of a whole model or an encoder that was saved alone, and transformers' report of its weights.

    Args:
        name: An id on the Hugging Face hub, or a folder.
        config: The `transformers.WhisperConfig` of the model.
        options: Further arguments of `from_pretrained`.
    """
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
    from transformers.utils import logging

    config.tie_last_hidden_states = False  # otherwise the last hidden state is normed, unlike wav2vec 2.0's
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it would list the decoder's weights, unused here
    try:
        prefix = {r"^(model\.)?encoder\.": ""}
        loaded: Any = WhisperEncoder.from_pretrained(
            name, config=config, key_mapping=prefix, output_loading_info=True, **options
        )
    finally:
        logging.set_verbosity(verbosity)
    encoder, report = loaded
    return encoder, report


def load_extractor(name: str, config: Any, *, saved: bool, hint: str, **options: Any) -> Any:
    """Return the feature extractor of a model.

    An encoder that `WhisperEncoder.save_pretrained` saved alone has none. It gets the standard one of its mel count.

    Args:
        name: An id on the Hugging Face hub, or a folder.
        config: The `transformers.WhisperConfig` of the model.
        saved: Whether the model comes with an extractor.
        hint: What the user may give instead.
        options: Further arguments of `from_pretrained`.

    Raises:
        UserError: A whole model lacks its extractor, there is no standard one, or it does not fit the encoder.
    """
    from transformers import WhisperFeatureExtractor

    mels = config.num_mel_bins
    if saved:
        extractor: Any = WhisperFeatureExtractor.from_pretrained(name, **options)
    elif config.architectures != ["WhisperEncoder"]:
        raise UserError(f"{name} lacks its feature extractor, preprocessor_config.json", hint=hint)
    elif mels not in _STANDARD_MELS:
        raise UserError(f"{name} lacks its feature extractor, and none is standard for {mels} mel bins", hint=hint)
    else:
        untyped: Any = WhisperFeatureExtractor
        extractor = untyped(feature_size=mels)
    if extractor.feature_size != mels:
        message = f"the feature extractor of {name} makes {extractor.feature_size} mel bins, its encoder needs {mels}"
        raise UserError(message, hint=hint)
    made = extractor.sampling_rate, _STRIDE * extractor.hop_length, extractor.n_samples
    needed = SAMPLE_RATE, HOP_SAMPLES, HOP_SAMPLES * config.max_source_positions
    if made != needed:
        what = "{} Hz, a frame every {} samples, windows of {} samples"
        message = f"the feature extractor of {name} gives {what.format(*made)}, but needed are {what.format(*needed)}"
        raise UserError(message, hint=hint)
    return extractor
