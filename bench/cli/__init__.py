"""`sbench`: parses, prints and exits. Imports nothing heavy at the top, so that `--help` answers at once."""

import sys

from bench.cli import corpora, efficiency, evaluate, throughput, train  # noqa: F401 - their commands
from bench.cli.app import INTERRUPTED, app
from mixers.support.errors import UserError


def main() -> None:
    """Run the command line: exit code 2 for the user's mistakes, 130 after Ctrl-C."""
    try:
        app()
    except UserError as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        print(f"sbench: {error}{hint}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("sbench: interrupted", file=sys.stderr)
        raise
