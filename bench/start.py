"""The entry point of `sbench`: it handles signals before anything is imported that takes time."""

from bench import signals


def main() -> None:
    """Run the command line."""
    with signals.leaving(), signals.handled():
        from bench.cli import main

        main()
