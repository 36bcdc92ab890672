"""`sbench`: parses, prints and exits. Imports nothing heavy at the top, so that `--help` answers at once."""

import sys
import threading

# The order of these imports is the order of the commands in the help.
# isort: off
from bench.cli import sweep, tools, report, runs  # noqa: F401
from bench.cli import train, probe, evaluate, predict, corpora, throughput  # noqa: F401
# isort: on

from bench import signals
from bench.cli import output
from bench.cli.app import app
from mixers.support.errors import UserError

_LEAVING_S = 5.0


def main() -> None:
    """Run the command line. The exit code is 2 for the user's mistakes, and 128 plus its number after a signal.

    It is 1 if standard output cannot be written.
    """
    with signals.handled(), output.checked():
        try:
            app()
        except UserError as error:
            hint = f"\n  hint: {error.hint}" if error.hint else ""
            print(f"sbench: {error}{hint}", file=sys.stderr)
            sys.exit(2)
        except SystemExit as end:
            if line := signals.line_of(end.code):
                print(line, file=sys.stderr)
            raise
        finally:
            _leave_processes()


def _leave_processes() -> None:
    """Leave the group of processes of a training, so that the library behind it does not warn at exit.

    Others of the group may be waiting for this one, so leaving may take forever. It is given up after some seconds.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        leaving = threading.Thread(target=distributed.destroy_process_group, daemon=True)
        leaving.start()
        leaving.join(_LEAVING_S)
