"""How far two processes that measure the same may differ. Each allowance has the measurement behind it."""

# The same short call behind a full queue can take this much longer in one process than in another, the same process at
# every call. The likely reason is the gaps between its launches. Two sweeps of an H200 differed by up to 0.019 ms for
# calls of less than 0.5 ms (kda at 10 s). Two sweeps of an H100 as graphs, which need no launches, differed by up to
# 0.007 ms (sa/sdpa at 25 s).
LAUNCH_GAPS_MS = {"eager": 0.02, "compile": 0.02, "graph": 0.007}

# Any call may differ by this share, in a CUDA graph too, for no reason that the card reports: two sweeps of the same
# code on an H200 differed by a little more than 1 %.
PROCESSES_DIFFER = 0.015
