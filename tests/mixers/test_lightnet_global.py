"""The global form against LightNet itself, whose last state every frame reads."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.efficiency.selection import choose_contestants, choose_settings
from mixers.lightnet import LightNet
from tests.mixers.test_contract import features, small


@pytest.mark.parametrize("implementation", ["reference", "eager"])
@given(frames=st.integers(1, 12), seed=st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_each_frame_reads_the_state_after_the_last_one(implementation: str, frames: int, seed: int) -> None:
    """LightNet's last frame has that state. So any frame that is moved to the end must come out of it alike."""
    whole, causal = small("lightnet_global", implementation=implementation), small("lightnet")
    assert isinstance(causal, LightNet)
    causal.load_state_dict(whole.state_dict())
    x = features(1, frames, seed=seed)
    with torch.no_grad():
        y = whole(x)
        for t in range(frames):
            order = [*range(t), *range(t + 1, frames), t]
            torch.testing.assert_close(y[:, t], causal(x[:, order])[:, -1], rtol=1e-9, atol=1e-11)


def test_it_is_measured_only_where_it_is_named() -> None:
    chosen = choose_settings(device_type="cpu")
    every = choose_contestants([], settings=chosen, device_type="cpu")
    assert "lightnet_global" not in {each.mixer for each in every}
    (named,) = choose_contestants(["lightnet_global"], settings=chosen, device_type="cpu")
    assert named.name == "lightnet_global/eager"
