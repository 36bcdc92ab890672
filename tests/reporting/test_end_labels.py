"""Names beside the ends of many curves do not overlap, and say which curve is which."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from bench.reporting.end_labels import crowded, label_ends
from bench.reporting.figures import style_of
from bench.reporting.page.charts import colours_of, curves_of

PAPERS = ["sa/eager", "sa/sdpa", "retnet/fla", "lightnet/triton", "gsa/fla", "fox/triton", "kda/fla"]
OTHERS = [f"other{number}/fla" for number in range(8)]


@settings(max_examples=25)
@given(ends=st.lists(st.floats(0, 1), min_size=1, max_size=15))
def test_names_are_apart_in_the_order_of_the_ends(ends: list[float]) -> None:
    axes = Figure().add_subplot()
    axes.set(xlim=(0, 2), ylim=(0, 1))
    curves = {f"mixer{number}": {1.0: 0.5, 2.0: end} for number, end in enumerate(ends)}
    label_ends(axes, {**curves, "without": {}}, dict.fromkeys(curves, "black"))
    labels = [each for each in axes.texts if isinstance(each, Annotation)]
    assert {each.get_text(): each.xy for each in labels} == {
        name: (2.0, end) for name, end in zip(curves, ends, strict=True)
    }
    heights = [each.get_position()[1] for each in labels]
    assert heights == sorted(heights)
    assert all(above - below > 0.039 for below, above in itertools.pairwise(heights))
    if all(above - below > 0.041 for below, above in itertools.pairwise(sorted(ends))):
        assert all(abs(height - end) < 1e-6 for height, end in zip(heights, sorted(ends), strict=True))


def test_the_papers_mixers_look_the_same_beside_others_and_no_two_are_alike() -> None:
    every = [name for pair in zip(OTHERS, [*PAPERS, "another/fla"], strict=True) for name in pair]
    alone = [style_of(name, PAPERS) for name in PAPERS]
    assert [style_of(name, every) for name in PAPERS] == alone
    assert {style["linestyle"] for style in alone} == {"-"}
    assert len({(style["color"], style["linestyle"]) for style in (style_of(name, every) for name in every)}) == 16
    assert crowded(len(every))
    assert not crowded(len(PAPERS))


def test_no_two_curves_of_the_page_are_alike() -> None:
    mixers = {name: name.partition("/")[0] for name in [*PAPERS, *OTHERS]}
    curves = curves_of(mixers, colours_of(mixers.values()))
    assert len({(curve.colour, curve.dash) for curve in curves}) == len(mixers)
