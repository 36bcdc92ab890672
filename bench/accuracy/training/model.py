"""The emotion classifier of the paper's section 3.2: U = [S; E], a mixer, attention pooling, a classifier.

Letters: B batch, M frames of speech, N tokens of text, L = M + N, D width, C classes, Z layers of the speech encoder.

The paper's text and its code disagree (`DIFFERENCES` says where). The preset `matched` follows the text where it speaks
and the code where it is silent, around a stack of 20 M parameters. `conformer` is the same around a Conformer of 30 M.
`released` follows the code, around a bare mixer.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bench.accuracy.run import ModelConfig
from bench.head import AttentionPooling, classifier
from mixers import stack

_MIXER_DROPOUT = 0.4


class WeightedSum(nn.Module):
    """The encoder's layers, summed with trained weights. These begin equal and are not normalised again."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((num_layers,), 1 / num_layers))

    def forward(self, layers: Float[Tensor, "B Z M D"]) -> Float[Tensor, "B M D"]:
        return torch.einsum("z,bzmd->bmd", self.weights.to(layers.dtype), layers)


class EmotionModel(nn.Module):
    """Features of speech and text in, a logit for each class out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        released = config.preset == "released"
        width = config.width
        self.config = config
        self.layers = WeightedSum(config.speech_layers) if config.layer == "weighted" else nn.Identity()
        norms = (nn.LayerNorm(width) if config.stream_norms else nn.Identity() for _ in range(2))
        self.speech_norm, self.text_norm = norms
        self.dropout = nn.Dropout(_MIXER_DROPOUT) if released else nn.Identity()  # the stack has its own
        self.mixer = stack.assemble(
            config.mixer,
            implementation=config.implementation,
            preset=config.preset,
            width=width,
            direction=config.direction,
        )
        self.pooling = AttentionPooling(width, scaled=not released)
        self.classifier = classifier(width, config.num_classes, hidden=config.classifier_layers)

    def forward(
        self,
        speech: Float[Tensor, "B *Z M D"],
        text: Float[Tensor, "B N D"] | None = None,
        text_mask: Bool[Tensor, "B N"] | None = None,
        speech_mask: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """Return the logits of utterances.

        The mixer sees the real frames of speech, then those of text, then padding, whatever its direction.

        Args:
            speech: Features of one layer, (B, M, D), or, if their sum is trained, of all layers, (B, Z, M, D).
            text: Features of the text; None for speech alone.
            text_mask: True on real tokens, which come first; None if all are real.
            speech_mask: True on real frames, which come first; None if all are real.
        """
        u = self.speech_norm(self.layers(speech))  # (B, M, D)
        mask = speech_mask
        if text is not None:
            mask = _joined(speech_mask, u, text_mask, text)  # (B, L)
            u = torch.cat((u, self.text_norm(text)), dim=1)  # (B, L, D)
            if mask is not None and speech_mask is not None:
                u, mask = _real_first(u, mask)
        u = u.to(self.pooling.query.dtype)  # sums stay in the weights' precision; products follow autocast
        h = self.mixer(self.dropout(u), mask)
        logits: Tensor = self.classifier(self.pooling(h, mask))
        return logits

    def parameter_count(self) -> int:
        """Return the exact number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


def _joined(
    speech_mask: Tensor | None, speech: Tensor, text_mask: Tensor | None, text: Tensor
) -> Bool[Tensor, "B L"] | None:
    """Return the mask of speech and text together; None if all is real."""
    if speech_mask is None and text_mask is None:
        return None
    masks = zip((speech_mask, text_mask), (speech, text), strict=True)
    return torch.cat(
        [each.new_ones(each.shape[:2], dtype=torch.bool) if mask is None else mask for mask, each in masks], 1
    )


def _real_first(
    u: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"]
) -> tuple[Float[Tensor, "B L D"], Bool[Tensor, "B L"]]:
    """Move the padding between speech and text behind the text."""
    order = mask.logical_not().to(torch.uint8).argsort(dim=1, stable=True)  # (B, L)
    return u.gather(1, order[..., None].expand_as(u)), mask.gather(1, order)


def build(config: ModelConfig, *, seed: int) -> EmotionModel:
    """Build a classifier on the CPU with seeded weights; the global random state is not changed.

    Raises:
        UserError: There is no such mixer or implementation, or the mixer cannot be causal.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs' generators
        return EmotionModel(config)
