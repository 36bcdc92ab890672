"""Encoders of known shapes with random weights. They cost what the real ones cost, and need no download."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench import whisper


def xlsr_300m_config() -> Any:
    """Return the configuration of XLS-R 300M, a `transformers.Wav2Vec2Config` (Babu et al., XLS-R, 2021, table 2)."""
    from transformers import Wav2Vec2Config

    return Wav2Vec2Config(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
    )


def whisper_base_config() -> Any:
    """Return the configuration of Whisper base, a `transformers.WhisperConfig` (Radford et al., 2022, table 1)."""
    from transformers import WhisperConfig

    return WhisperConfig(d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048)


def _xlsr(config: Any) -> nn.Module:
    from transformers import Wav2Vec2Model

    model = Wav2Vec2Model(config)
    model.set_attn_implementation("sdpa")  # eager would hold an L x L matrix per head: 26 GB in float32 at 400 s
    return model


def _whisper(config: Any) -> nn.Module:
    from transformers import WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config.tie_last_hidden_states = False  # as in an encoder that `bench.whisper` loads
    encoder = WhisperEncoder(config)
    encoder.set_attn_implementation("sdpa")
    untyped: Any = WhisperFeatureExtractor
    return whisper.WhisperOfWaveforms(encoder, untyped(feature_size=config.num_mel_bins))


@dataclass(frozen=True, kw_only=True)
class RandomEncoder:
    """An encoder with random weights.

    Attributes:
        config: Returns its configuration, of transformers.
        make: Makes the model of it, with weights from torch's global generator.
        normalises: Whether it needs waveforms of zero mean and unit variance.
    """

    config: Callable[[], Any]
    make: Callable[[Any], nn.Module]
    normalises: bool

    def build(self, config: Any, *, seed: int) -> nn.Module:
        """Return the model with weights drawn on the CPU in float32: the same ones on every device."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs' generators
            return self.make(config)


# By the name that the command line takes. The functions are looked up when they are called.
RANDOM_ENCODERS = {
    "xlsr-random": RandomEncoder(config=lambda: xlsr_300m_config(), make=_xlsr, normalises=True),
    "whisper-base-random": RandomEncoder(config=lambda: whisper_base_config(), make=_whisper, normalises=False),
}
