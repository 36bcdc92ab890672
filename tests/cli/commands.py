"""A sweep that takes seconds, and the command in a process of its own."""

import sys

FAST = ("sa/sdpa", "fox", "--lengths", "0.1,0.2", "--preset", "released", "--device", "cpu")

SBENCH = (sys.executable, "-c", "from bench.start import main; main()")
