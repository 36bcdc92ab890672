"""The checks, each in an environment of its own: `nox` on a CPU, `nox -s gpu` on a GPU."""

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
WORKFLOWS = sorted(Path(".github/workflows").glob("*.yml"))

nox.options.sessions = ["tests", "lint", "types"]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments go to pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Run the tests that need a GPU: first side by side, then those that time the GPU, one at a time."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "gpu", "tests/mixers", "tests/accuracy")
    session.run("pytest", "-m", "gpu", "-n", "0", "tests/efficiency")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and the workflows."""
    session.install("ruff", "check-jsonschema")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS))


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.install("-e", ".[test,check]")
    session.run("mypy")
