"""The learning rates of a run."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.accuracy.training.schedule import choose_schedule, one_cycle
from mixers.support.errors import UserError


@given(total=st.integers(10, 2000))
def test_one_cycle_is_that_of_pytorch(total: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=total, cycle_momentum=False)
    for step in range(min(total, 60)):
        assert 2e-3 * one_cycle(step, total) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        if step < total - 1:
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 1000])
def test_every_step_of_every_run_has_a_rate(total: int) -> None:
    rates = [one_cycle(step, total) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates)


def test_an_unknown_schedule_is_refused() -> None:
    assert choose_schedule("one-cycle") == "one-cycle"
    with pytest.raises(UserError, match="unknown schedule 'cosine'"):
        choose_schedule("cosine")
