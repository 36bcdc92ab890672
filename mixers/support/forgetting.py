"""How far back a mixer sees, in words, from how fast it forgets."""

import math

FRAMES_PER_SECOND = 50  # of the usual encoders of speech


def half_life(log_keep: float) -> str:
    """Return the seconds until half is forgotten, if each frame keeps exp(log_keep) of what is held: two digits."""
    return f"{math.log(0.5) / log_keep / FRAMES_PER_SECOND:.2g}"


def learned_reach(*, least_kept: float, most_kept: float) -> str:
    """Return the reach of learned decays, from the range of their logarithms in a new layer."""
    return f"learned half-life, at first {half_life(least_kept)} to {half_life(most_kept)} s"


def reach_of_gates(*, normalizer: int = 1) -> str:
    """Return the reach of forget gates sigmoid(logit)^(1 / normalizer) whose logits come from a new projection.

    Of normalised features, such a projection makes logits with a deviation of 1 / sqrt(3). Nine in ten are within 1.
    """
    least, most = (-math.log1p(math.exp(-logit)) / normalizer for logit in (-1, 1))
    return learned_reach(least_kept=least, most_kept=most)
