"""Whisper with tiny random weights, saved in the ways that transformers saves it."""

from pathlib import Path
from typing import Any, Literal

Form = Literal["encoder", "model", "transcriber"]

WIDTH, LAYERS = 32, 3


def save_tiny_whisper(
    folder: Path, *, form: Form = "encoder", mels: int = 80, extractor: dict[str, Any] | None = None, **changes: Any
) -> Path:
    """Save the encoder alone, the model, or the model with its head, with or without a feature extractor.

    Args:
        folder: A new folder.
        form: What is saved.
        mels: Mel bins that the encoder hears.
        extractor: Arguments of the feature extractor; None for none.
        changes: Further arguments of the configuration.
    """
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperModel
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    sizes: dict[str, Any] = {
        "d_model": WIDTH,
        "num_mel_bins": mels,
        "encoder_layers": LAYERS,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "vocab_size": 8,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0),
    }
    kinds: dict[Form, Any] = {
        "encoder": WhisperEncoder,
        "model": WhisperModel,
        "transcriber": WhisperForConditionalGeneration,
    }
    kinds[form](WhisperConfig(**(sizes | changes))).save_pretrained(folder)
    if extractor is not None:
        untyped: Any = WhisperFeatureExtractor
        untyped(**({"feature_size": mels} | extractor)).save_pretrained(folder)
    return folder
