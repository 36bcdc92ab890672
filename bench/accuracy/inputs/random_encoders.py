"""Small encoders of the real architectures with random weights, for demonstrations and tests without downloads.

Their features still differ with pitch, energy, rate and words. That is enough for a mixer to learn to tell emotions
apart.
"""

import string
from pathlib import Path
from typing import Any

import torch

from bench.hub import hide_progress_bars

WIDTH = 64

_WORD_PIECES = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *string.ascii_lowercase,
    *string.digits,
    "'",
    ".",
    ",",
    "?",
    "!",
)


def write_speech_encoder(folder: Path, *, seed: int, width: int = WIDTH) -> None:
    """Save a wav2vec 2.0 of two layers with XLS-R's frames and norms.

    Args:
        folder: Where to save it; made if missing.
        seed: Seed of the weights; torch's global generators are not changed.
        width: D.
    """
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    hide_progress_bars()
    config = Wav2Vec2Config(
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * width,
        conv_dim=(32,) * 7,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        Wav2Vec2Model(config).save_pretrained(folder)


def write_text_encoder(folder: Path, *, seed: int, width: int = WIDTH) -> None:
    """Save a BERT of two layers with a tokenizer that spells every word.

    Args:
        folder: Where to save it; made if missing.
        seed: Seed of the weights; torch's global generators are not changed.
        width: D.
    """
    hide_progress_bars()
    tokenizer, model = random_bert(
        seed=seed, hidden_size=width, num_hidden_layers=2, num_attention_heads=4, intermediate_size=2 * width
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def random_bert(*, seed: int, **sizes: Any) -> tuple[Any, Any]:
    """Return a tokenizer that spells every word, and a BERT with random weights.

    Args:
        seed: Seed of the weights; torch's global generators are not changed.
        sizes: Arguments of `transformers.BertConfig`.
    """
    from transformers import BertConfig, BertModel, BertTokenizer

    vocabulary = [*_WORD_PIECES, *(f"##{piece}" for piece in _WORD_PIECES if len(piece) == 1)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(BertConfig(vocab_size=len(vocabulary), **sizes))
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(vocabulary)}), model
