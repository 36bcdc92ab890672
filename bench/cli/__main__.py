"""`python -m bench.cli`, which `accelerate launch -m bench.cli` starts on each GPU."""

from bench.cli import main

main()
