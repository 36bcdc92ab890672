"""What names a corpus: ``NAME:PATH``, or one of its folds: ``NAME@FOLD:PATH``.

    ravdess:/data/RAVDESS              the corpus with its own splits
    ravdess@2:/data/RAVDESS            its second fold; the same as --corpus ravdess:/data/RAVDESS --fold 2
    emobox@1+shared:/data/emovdb       a fold whose training and test share speakers, knowingly

A run.json holds the reference, so that a run knows its fold.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from mixers.support.errors import UserError

_NAME = re.compile(r"(?P<name>[^@]*)(?:@(?P<fold>[0-9]{1,9})(?P<shared>\+shared)?)?")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A corpus, and which fold of it.

    Attributes:
        name: The corpus: ``"ravdess"``.
        path: Its folder or file.
        fold: The fold, counted from 1; None for the corpus's own splits.
        shared: Whether training and test of the fold may share speakers.
    """

    name: str
    path: str
    fold: int | None = None
    shared: bool = False

    def __str__(self) -> str:
        fold = "" if self.fold is None else f"@{self.fold}{'+shared' if self.shared else ''}"
        return f"{self.name}{fold}:{self.path}"


def parse_reference(spec: str) -> Reference:
    """Return what a specification names. Whether the corpus exists is not checked.

    Raises:
        UserError: It is not ``NAME:PATH`` or ``NAME@FOLD:PATH``.
    """
    before, separator, path = spec.partition(":")
    match = _NAME.fullmatch(before)
    if not (separator and path):
        raise UserError(f"{spec!r} names no corpus", hint="Give NAME:PATH, or NAME@FOLD:PATH for a fold.")
    if match is None:
        raise UserError(f"{spec!r} names no fold", hint="Give NAME@FOLD:PATH, for instance ravdess@2:/data/RAVDESS.")
    fold = match["fold"]
    return Reference(
        name=match["name"], path=path, fold=None if fold is None else int(fold), shared=match["shared"] is not None
    )


def absolute_spec(spec: str) -> str:
    """Return a specification with the absolute path, so that it is valid in any folder; an invalid one as it is."""
    kind, colon, path = spec.partition(":")
    return f"{kind}{colon}{Path(path).absolute()}" if path else spec


def with_fold(spec: str, fold: int | None) -> str:
    """Return the specification of a fold of a corpus; the same specification if no fold is given.

    Raises:
        UserError: The specification is invalid, or names another fold.
    """
    if fold is None:
        return spec
    found = parse_reference(spec)
    if found.fold not in (None, fold):
        raise UserError(f"{spec} is fold {found.fold}, but --fold says {fold}", hint="Give the fold once.")
    return str(Reference(name=found.name, path=found.path, fold=fold, shared=found.shared))


def fold_to_test(spec: str, fold: int | None, *, trained_on: str) -> str:
    """Return the specification of what a run is tested on: of its own corpus the run's fold, unless another is given.

    Args:
        spec: The corpus to test on.
        fold: The fold that the user asked for, if any.
        trained_on: The specification of the run's corpus.

    Raises:
        UserError: As in `with_fold`.
    """
    found, trained = parse_reference(spec), parse_reference(trained_on)
    may_be_its_own = found.name == trained.name and not Path(found.path).is_file()  # a file has no folds
    if fold is None and found.fold is None and may_be_its_own and trained.fold is not None:
        return str(Reference(name=found.name, path=found.path, fold=trained.fold, shared=trained.shared))
    return with_fold(spec, fold)
