"""The checks, each in an environment of its own: `nox` for those of a CPU, `nox -s gpu` for the rest."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests", "lint", "types"]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments go to pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Run the tests that need a GPU: side by side, then those that time it, one at a time."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "gpu", "tests/mixers", "tests/accuracy")
    session.run("pytest", "-m", "gpu", "-n", "0", "tests/efficiency")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install("ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.install("-e", ".[test,check]")
    session.run("mypy")
