"""A tiny wav2vec 2.0, as XLS-R is built, with random weights."""

from pathlib import Path
from typing import Any

WIDTH = 32

TINY: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "conv_bias": True,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def save_tiny_encoder(folder: Path) -> Path:
    """Save it without a feature extractor."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    Wav2Vec2Model(Wav2Vec2Config(**TINY)).save_pretrained(folder)
    return folder
