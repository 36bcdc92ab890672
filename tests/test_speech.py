"""The frame law and the crop or repetition, against their definitions."""

import itertools
import math
import random
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.speech import check_seconds, crop_or_repeat, cut_into_windows, frames_of, samples_of
from mixers.support.errors import UserError

lengths = st.integers(min_value=1, max_value=300)
seeds = st.integers(min_value=0, max_value=2**32)


@pytest.mark.parametrize(("seconds", "frames"), [(0.025, 1), (1.0, 49), (5.5, 274), (10.0, 499), (400.0, 19_999)])
def test_known_lengths(seconds: float, frames: int) -> None:
    assert frames_of(samples_of(seconds)) == frames


@given(st.integers(min_value=400, max_value=10**8))
def test_frames_follow_the_law(samples: int) -> None:
    assert frames_of(samples) == math.floor((samples - 400) / 320) + 1


@given(st.integers(min_value=0, max_value=399))
def test_less_than_one_frame_is_none(samples: int) -> None:
    assert frames_of(samples) == 0


@given(st.integers(min_value=0, max_value=10**8))
def test_seconds_give_back_their_samples(samples: int) -> None:
    assert samples_of(samples / 16_000) == samples


@given(samples=st.integers(400, 10**6), window=st.none() | st.integers(400, 10**6))
def test_windows_cover_the_audio_exactly_once(samples: int, window: int | None) -> None:
    windows = cut_into_windows(samples, window)
    assert windows[0].start == 0
    assert windows[-1].stop == samples
    assert all(one.stop == other.start for one, other in itertools.pairwise(windows))
    assert all(len(each) >= 400 for each in windows)  # each has a frame
    assert {len(each) for each in windows[:-1]} <= {window}
    assert window is None or len(windows[-1]) < window + 400


@given(have=lengths, want=lengths, seed=seeds)
def test_a_crop_is_contiguous_and_a_repetition_periodic(have: int, want: int, seed: int) -> None:
    result = crop_or_repeat(torch.arange(have), want, generator=random.Random(seed))
    start = int(result[0])
    assert result.tolist() == [(start + i) % have for i in range(want)]
    assert start + want <= have or start == 0


@given(have=lengths, want=lengths, seed=seeds)
def test_frames_stay_whole(have: int, want: int, seed: int) -> None:
    frames = torch.arange(have * 3).reshape(have, 3)
    result = crop_or_repeat(frames, want, generator=random.Random(seed))
    first = crop_or_repeat(frames[:, 0], want, generator=random.Random(seed))
    assert torch.equal(result, first[:, None] + torch.arange(3))


def test_every_place_is_cropped() -> None:
    generator = random.Random(0)
    starts = {int(crop_or_repeat(torch.arange(5), 3, generator=generator)[0]) for _ in range(100)}
    assert starts == {0, 1, 2}


def test_rising_lengths_are_accepted() -> None:
    check_seconds([0.025])
    check_seconds([1.0, 5.5, 10.0, 400.0])


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        ([], "no length"),
        ([math.nan], "finite number of seconds, not nan"),
        ([1.0, math.inf], "finite number of seconds, not inf"),
        ([-1.0], "-1 s of audio are less than one frame"),
        ([0.0, 1.0], "0 s of audio are less than one frame"),
        ([0.024], "less than one frame"),
        ([10.0, 10.0], "do not rise: 10 s follows 10 s"),
        ([10.0, 20.0, 5.0], "do not rise: 5 s follows 20 s"),
    ],
)
def test_bad_lengths_are_named(seconds: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        check_seconds(seconds)
    assert caught.value.hint


def test_the_laws_need_no_torch() -> None:
    program = "import bench.speech, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
