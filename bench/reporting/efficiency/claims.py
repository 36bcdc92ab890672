"""What the paper says of efficiency, claim by claim.

M. Casals-Salvador et al., "How Attention Shapes Emotion", sections 5 and 6. Its GB are GiB.
"""

from bench.reporting.efficiency.claim_checks import BOUNDED, LONG_S, SHORT_S, Claim, memory_grows, time_grows
from bench.reporting.efficiency.claim_memory import (
    bounded_take_more_than_fox,
    least_memory,
    less_memory_than_attention,
    memory_is,
    others_stay_below,
)
from bench.reporting.efficiency.claim_times import (
    attention_is_competitive,
    faster_than_attention,
    fastest_is,
    ratio_is,
)

TIME_CLAIMS = (
    Claim(section="5", says="SA is competitive at 10 s", paper="0.55 ms", check=attention_is_competitive),
    Claim(
        section="5",
        says="SA takes far longer at 400 s than at 10 s",
        paper="48.59 / 0.55 = 88.3 x",
        check=ratio_is(("sa", LONG_S), ("sa", SHORT_S), 48.59 / 0.55),
    ),
    Claim(
        section="5",
        says="KDA is faster than SA at 400 s",
        paper="48.59 / 5.96 = 8.15 x",
        check=ratio_is(("sa", LONG_S), ("kda", LONG_S), 8.15),
    ),
    Claim(section="5", says="KDA is the fastest of all at 400 s", paper="5.96 ms", check=fastest_is("kda")),
    Claim(
        section="5",
        says="the time of the efficient mixers grows linearly",
        paper="exponent 1",
        check=time_grows(lambda view: view.others, 1),
    ),
    Claim(
        section="5, 6",
        says="SA's time grows with the square of the length",
        paper="exponent 2",
        check=time_grows(lambda view: [view.attention], 2),
    ),
    Claim(
        section="6",
        says="mixers with a bounded state are faster than SA at 400 s",
        paper="Figure 2",
        check=faster_than_attention(BOUNDED),
    ),
    Claim(
        section="6",
        says="FoX is faster than SA at 400 s, thanks to its kernel",
        paper="Figure 2",
        check=faster_than_attention(("fox",)),
    ),
)

MEMORY_CLAIMS = (
    Claim(section="5", says="SA's memory at 10 s", paper="0.02 GiB", check=memory_is("sa", SHORT_S, 0.02)),
    Claim(section="5", says="SA's memory at 400 s", paper="12.35 GiB", check=memory_is("sa", LONG_S, 12.35)),
    Claim(section="5", says="FoX's memory at 400 s", paper="0.328 GiB", check=memory_is("fox", LONG_S, 0.328)),
    Claim(
        section="5",
        says="FoX takes less memory than SA at 400 s",
        paper="37.6 x",
        check=less_memory_than_attention("fox", 37.6),
    ),
    Claim(section="5", says="FoX takes the least memory of all at 400 s", paper="0.328 GiB", check=least_memory("fox")),
    Claim(section="5", says="all efficient mixers stay below 1.50 GiB", paper="1.50 GiB", check=others_stay_below(1.5)),
    Claim(
        section="5",
        says="the memory of the efficient mixers grows linearly",
        paper="exponent 1",
        check=memory_grows(lambda view: view.others, 1),
    ),
    Claim(
        section="5, 6",
        says="SA's memory grows with the square of the length",
        paper="exponent 2",
        check=memory_grows(lambda view: [view.attention], 2),
    ),
    Claim(
        section="6",
        says="mixers with a bounded state take more memory than FoX at 400 s",
        paper="Figure 2",
        check=bounded_take_more_than_fox,
    ),
)

CLAIMS = (*TIME_CLAIMS, *MEMORY_CLAIMS)
