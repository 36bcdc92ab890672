"""`python -m bench.cli`, which `accelerate launch -m bench.cli` starts on each GPU."""

from bench import signals
from bench.cli import main

with signals.leaving():
    main()
