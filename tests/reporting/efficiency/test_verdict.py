import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.reporting.efficiency.verdict import (
    ALPHA,
    Judgement,
    Verdict,
    decide,
    judge,
    median_interval,
    medians_agree,
    parse_fraction,
    slower_than,
)
from mixers.support.errors import UserError

Draw = Callable[[random.Random], float]

# Times of one call in ms, and the median of each distribution.
DISTRIBUTIONS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng: rng.gauss(10, 0.3), 10.0),
    "lognormal": (lambda rng: 10 * rng.lognormvariate(0, 0.5), 10.0),
    "bimodal": (lambda rng: rng.gauss(8 if rng.random() < 0.7 else 12, 0.1), 8 + 0.1 * 0.5659),
    "bimodal, even": (lambda rng: rng.uniform(7, 8) if rng.random() < 0.5 else rng.uniform(12, 13), 8.0),
    "heavy-tailed": (lambda rng: 10 + min(rng.paretovariate(0.8), 1e6), 10 + 2 ** (1 / 0.8)),
    "ties": (lambda rng: round(rng.gauss(0.010, 0.0004) / 0.0005) * 0.0005, 0.010),
    "constant": (lambda _: 0.5, 0.5),
}

PAIRS = 1000

# A rule that errs just as often as it may would exceed `tolerated` for one seed in 100,000: 80 of 1000 at 5 %.
SIGMAS = statistics.NormalDist().inv_cdf(1 - 1e-5)

PARTNER: dict[Verdict, Verdict] = {
    "faster": "slower",
    "slower": "faster",
    "no difference": "no difference",
    "noisy": "noisy",
}

times = st.lists(st.floats(min_value=1e-3, max_value=1e4), min_size=1, max_size=60)
near = st.lists(st.integers(min_value=195, max_value=215).map(lambda steps: 0.0005 * steps), min_size=1, max_size=60)
allowances = st.floats(min_value=0, max_value=1)
pairs = st.one_of(st.tuples(times, times), st.tuples(near, near))


def tolerated(level: float) -> float:
    """The most often that something of this probability may happen in PAIRS trials."""
    return PAIRS * level + SIGMAS * math.sqrt(PAIRS * level * (1 - level))


def aa_pairs(name: str, count: int) -> list[tuple[list[float], list[float]]]:
    rng = random.Random(f"{name}, {count}")
    draw, _ = DISTRIBUTIONS[name]
    return [([draw(rng) for _ in range(count)], [draw(rng) for _ in range(count)]) for _ in range(PAIRS)]


def normal(count: int, *, mean: float, spread: float, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(mean, spread) for _ in range(count)]


def verdicts(*, change: float, spread: float, count: int, repetitions: int = 200) -> Counter[Verdict]:
    """How often each verdict is given on normal samples of 1 ms whose true ratio is ``1 + change``."""
    return Counter(
        judge(
            normal(count, mean=1.0, spread=spread, seed=2 * seed),
            normal(count, mean=1 + change, spread=spread, seed=2 * seed + 1),
        ).verdict
        for seed in range(repetitions)
    )


@pytest.mark.parametrize("alpha", [ALPHA, 0.5])
@pytest.mark.parametrize("count", [7, 20, 81])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_an_aa_pair_is_called_different_at_most_at_the_level(name: str, count: int, alpha: float) -> None:
    called = sum(
        judge(before, after, alpha=alpha, threshold=0, resolution=1e9).verdict in ("faster", "slower")
        for before, after in aa_pairs(name, count)
    )
    assert called <= tolerated(alpha)


def test_a_rule_without_an_interval_would_fail_that_test() -> None:
    called = sum(
        abs(statistics.median(after) / statistics.median(before) - 1) > 0.01 for before, after in aa_pairs("normal", 20)
    )
    assert called > tolerated(ALPHA)


@pytest.mark.parametrize("count", [7, 20, 81])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_ratios_interval_holds_the_true_ratio(name: str, count: int) -> None:
    judgements = [judge(before, [1.3 * time for time in after], alpha=0.5) for before, after in aa_pairs(name, count)]
    missed = sum(
        not judgement.low <= 1.3 * (1 + 1e-12) or judgement.high < 1.3 * (1 - 1e-12) for judgement in judgements
    )
    assert missed <= tolerated(0.5)


@pytest.mark.parametrize("alpha", [0.5, ALPHA])
@pytest.mark.parametrize("name", [name for name in DISTRIBUTIONS if name not in ("ties", "constant")])
def test_the_medians_interval_holds_the_median_as_often_as_stated(name: str, alpha: float) -> None:
    _, median = DISTRIBUTIONS[name]
    intervals = [median_interval(before, alpha=alpha) for before, _ in aa_pairs(name, 81)]
    missed = sum(not low <= median <= high for low, high in intervals)
    assert missed <= tolerated(alpha)
    if alpha == 0.5:
        assert missed > PAIRS * 0.3  # not by being as wide as it likes


@pytest.mark.parametrize("alpha", [0.5, 0.05, 0.025, 0.001])
@pytest.mark.parametrize("count", [1, 6, 7, 8, 20, 21, 100, 333])
def test_the_medians_interval_is_the_narrowest_that_is_exact(count: int, alpha: float) -> None:
    low, high = median_interval(range(1, count + 1), alpha=alpha)
    rank = int(low)
    assert high == (count + 1 - rank if rank else math.inf)

    def missed(rank: int) -> float:
        return 2 * sum(math.comb(count, heads) for heads in range(rank)) / 2**count

    assert missed(rank) <= alpha < missed(rank + 1)


def test_a_published_interval() -> None:
    """David and Nagaraja, Order Statistics: of 10 samples the second and ninth enclose the median with 0.979."""
    assert median_interval(range(1, 11), alpha=0.0215) == (2, 9)
    assert median_interval(range(1, 11), alpha=0.0214) == (1, 10)


@given(samples=st.one_of(times, near))
def test_the_medians_interval_is_scipys(samples: list[float]) -> None:
    low, high = np.asarray(stats.quantile_test(samples, p=0.5).confidence_interval(1 - ALPHA / 2)).tolist()
    assert median_interval(samples, alpha=ALPHA / 2) == ((0.0, math.inf) if math.isnan(low) else (low, high))


@pytest.mark.parametrize("change", [0.05, -0.05])
def test_a_true_difference_of_5_percent_is_found(change: float) -> None:
    assert set(verdicts(change=change, spread=0.01, count=50)) == {"slower" if change > 0 else "faster"}


def test_a_significant_difference_below_the_threshold_is_none() -> None:
    before, after = (normal(4000, mean=mean, spread=0.01, seed=seed) for seed, mean in enumerate((1.0, 1.003)))
    judgement = judge(before, after)
    assert judgement.low > 1
    assert judgement.verdict == "no difference"
    assert verdicts(change=0.003, spread=0.01, count=50)["no difference"] >= 195  # the measured ratio may exceed 1 %


def test_too_wild_samples_are_noisy() -> None:
    assert set(verdicts(change=0.02, spread=0.2, count=20)) == {"noisy"}
    assert verdicts(change=0.0, spread=0.2, count=20)["noisy"] >= 195


@pytest.mark.parametrize("count", [1, 6])
def test_too_few_samples_are_noisy_however_different(count: int) -> None:
    one, many = [1.0] * count, [2.0] * 100
    for judgement in (judge(one, many), judge(many, one), judge(one, one)):
        assert (judgement.low, judgement.high, judgement.verdict) == (0.0, math.inf, "noisy")


def test_seven_samples_are_enough_for_a_large_difference() -> None:
    assert judge([1.0] * 7, [2.0] * 7).verdict == "slower"
    assert judge([1.0] * 7, [1.0] * 7).verdict == "no difference"


@pytest.mark.parametrize(
    ("ratio", "low", "high", "expected"),
    [
        (1.00, 0.99, 1.01, "no difference"),
        (1.008, 1.005, 1.02, "no difference"),  # significant, below the threshold
        (1.03, 0.99, 1.049, "noisy"),  # above the threshold, not significant
        (1.03, 0.99, 1.06, "noisy"),  # might be 6 % slower
        (1.008, 1.001, 1.06, "noisy"),  # significant and small, yet might be 6 % slower
        (1.01, 1.005, 1.02, "no difference"),  # at the threshold, not beyond it
        (1.011, 1.0001, 1.02, "slower"),
        (1.5, 1.001, 3.0, "slower"),  # wide, but wholly on one side
        (0.5, 0.1, 0.999, "faster"),
        (1.2, 1.0, 1.4, "noisy"),  # touches 1
        (1.0, 1 / 1.05, 1.05, "no difference"),
        (2.0, 0.0, math.inf, "noisy"),
    ],
)
def test_the_order_of_the_rules(ratio: float, low: float, high: float, expected: Verdict) -> None:
    assert decide(ratio, low, high) == expected
    inverse = decide(1 / ratio, 1 / high, 1 / low if low else math.inf)
    assert inverse == PARTNER[expected]


@given(pair=pairs, exponent=st.integers(min_value=-60, max_value=60))
def test_the_unit_is_irrelevant(pair: tuple[list[float], list[float]], exponent: int) -> None:
    before, after = pair
    plain = judge(before, after)
    scaled = judge([time * 2.0**exponent for time in before], [time * 2.0**exponent for time in after])
    assert (scaled.ratio, scaled.low, scaled.high, scaled.verdict) == (
        plain.ratio,
        plain.low,
        plain.high,
        plain.verdict,
    )


@given(pair=pairs)
def test_swapping_inverts_the_ratio_and_mirrors_the_verdict(pair: tuple[list[float], list[float]]) -> None:
    forth, back = judge(*pair), judge(*reversed(pair))
    assert back.verdict == PARTNER[forth.verdict]
    assert back.ratio == pytest.approx(1 / forth.ratio)
    if math.isfinite(forth.high):
        assert (back.low, back.high) == pytest.approx((1 / forth.high, 1 / forth.low))


@given(pair=pairs)
def test_the_interval_encloses_the_ratio(pair: tuple[list[float], list[float]]) -> None:
    judgement = judge(*pair)
    assert judgement.low <= judgement.ratio <= judgement.high
    if judgement.verdict in ("faster", "slower"):
        assert not judgement.low <= 1 <= judgement.high
        assert judgement.verdict == ("slower" if judgement.ratio > 1 else "faster")


@given(pair=pairs, allowance=allowances)
def test_an_allowance_turns_nothing_but_differences_within_it_into_noise(
    pair: tuple[list[float], list[float]], allowance: float
) -> None:
    plain, allowed = judge(*pair), judge(*pair, allowance=allowance)
    assert (allowed.ratio, allowed.low, allowed.high) == (plain.ratio, plain.low, plain.high)
    explained = round(max(plain.ratio, 1 / plain.ratio) - 1, 12) <= allowance
    if plain.verdict in ("faster", "slower") and explained:
        assert allowed.verdict == "noisy"
    else:
        assert allowed.verdict == plain.verdict


@given(pair=pairs, allowance=allowances, more=allowances)
def test_a_larger_allowance_calls_no_more_cases_different(
    pair: tuple[list[float], list[float]], allowance: float, more: float
) -> None:
    if judge(*pair, allowance=allowance).verdict in ("noisy", "no difference"):
        assert judge(*pair, allowance=allowance + more).verdict == judge(*pair, allowance=allowance).verdict


@given(pair=pairs, allowance=allowances)
def test_an_allowance_is_the_same_in_both_directions(pair: tuple[list[float], list[float]], allowance: float) -> None:
    forth, back = judge(*pair, allowance=allowance), judge(*reversed(pair), allowance=allowance)
    assert back.verdict == PARTNER[forth.verdict]


@pytest.mark.parametrize("allowance", [0.0, 0.03])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_an_aa_pair_with_an_allowance_is_called_different_at_most_at_the_level(name: str, allowance: float) -> None:
    called = sum(
        judge(before, after, alpha=0.5, threshold=0, resolution=1e9, allowance=allowance).verdict
        in ("faster", "slower")
        for before, after in aa_pairs(name, 20)
    )
    assert called <= tolerated(0.5)


@pytest.mark.parametrize(
    ("ratio", "allowance", "expected"),
    [
        (1.2, 0.0, "slower"),
        (1.2, 0.19, "slower"),
        (1.2, 0.2, "noisy"),
        (1 / 1.2, 0.2, "noisy"),
        (1 / 1.2, 0.19, "faster"),
        (1.2, 5.0, "noisy"),
        (1.005, 0.2, "no difference"),
    ],
)
def test_a_difference_that_something_else_explains_is_noise(ratio: float, allowance: float, expected: Verdict) -> None:
    assert decide(ratio, ratio / 1.001, ratio * 1.001, allowance=allowance) == expected


@pytest.mark.parametrize("allowance", [-0.1, math.inf, math.nan])
def test_an_allowance_that_is_no_fraction_is_refused(allowance: float) -> None:
    with pytest.raises(ValueError, match="allowance"):
        judge([1.0], [1.0], allowance=allowance)


@pytest.mark.parametrize(
    ("ratio", "agree"), [(1.0, True), (1.01, True), (1 / 1.01, True), (1.0101, False), (0.9, False)]
)
def test_medians_agree_within_the_threshold(ratio: float, agree: bool) -> None:
    judgement = judge([1.0], [ratio])
    assert judgement.verdict == "noisy"
    assert medians_agree(judgement) == agree


@given(samples=st.one_of(times, near))
def test_the_same_samples_are_never_different(samples: Sequence[float]) -> None:
    assert judge(samples, samples, threshold=0).verdict in ("no difference", "noisy")


@pytest.mark.parametrize("samples", [[1.0, 0.0], [-1.0], [math.nan], [math.inf]])
def test_what_is_no_time_is_refused(samples: list[float]) -> None:
    for pair in itertools.permutations([samples, [1.0] * 7]):
        with pytest.raises(ValueError, match="positive and finite"):
            judge(*pair)


def test_a_rule_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="resolution"):
        judge([1.0], [1.0], threshold=0.05, resolution=0.05)
    for alpha in (0.0, 1.0):
        with pytest.raises(ValueError, match="alpha"):
            median_interval([1.0], alpha=alpha)
    with pytest.raises(statistics.StatisticsError):
        judge([], [1.0])


def test_the_gate_stops_what_is_slower_by_more_than_the_fraction() -> None:
    def judgement(ratio: float, verdict: Verdict) -> Judgement:
        return Judgement(
            median_before=1.0, median_after=ratio, ratio=ratio, low=ratio / 1.01, high=ratio * 1.01, verdict=verdict
        )

    assert slower_than(judgement(1.051, "slower"), 0.05)
    assert not slower_than(judgement(1.05, "slower"), 0.05)
    assert not slower_than(judgement(1.3, "noisy"), 0.05)
    assert not slower_than(judgement(0.5, "faster"), 0.05)
    assert slower_than(judgement(1.02, "slower"), 0.0)


@pytest.mark.parametrize(
    ("text", "fraction"), [("5%", 0.05), ("0.05", 0.05), (" 2.5 % ", 0.025), ("0", 0.0), ("0%", 0.0), ("150%", 1.5)]
)
def test_a_fraction_is_read(text: str, fraction: float) -> None:
    assert parse_fraction(text) == fraction


@pytest.mark.parametrize("text", ["", "%", "five", "5", "1", "-5%", "-0.05", "nan", "inf%", "nan%", "5%%", "5% more"])
def test_what_is_no_fraction_is_the_users_to_mend(text: str) -> None:
    with pytest.raises(UserError, match="fraction") as refusal:
        parse_fraction(text)
    assert "5% or 0.05" in refusal.value.hint


def levels(generator: random.Random, *, count: int = 200) -> list[float]:
    """Times of a device that changes between two levels 2 % apart, each of which lasts for some calls."""
    times: list[float] = []
    while len(times) < count:
        level = generator.choice((7.08, 7.22))
        times += [generator.gauss(level, 0.01) for _ in range(generator.randint(5, 30))]
    return times[:count]


def test_levels_that_last_make_no_verdict() -> None:
    generator = random.Random(0)
    found = Counter(judge(levels(generator), levels(generator), allowance=0.015).verdict for _ in range(300))
    assert found["faster"] + found["slower"] <= 0.05 * 300


def test_a_slowdown_of_10_percent_is_found_among_levels() -> None:
    generator = random.Random(0)
    found = Counter(judge(levels(generator), [1.1 * time for time in levels(generator)]).verdict for _ in range(50))
    assert found == {"slower": 50}
