"""The option --fold of commands that take several folds of a corpus."""

from typing import TYPE_CHECKING

from bench.accuracy.parts import is_number
from bench.cli.parsing import split_names
from mixers.support.errors import UserError

if TYPE_CHECKING:
    from bench.accuracy.corpora.base import Corpus

_HINT = "Give the number of a fold, from 1, several such as 1,2, or all."


def load_folds(spec: str, fold: str | None) -> "list[Corpus]":
    """Return the corpus, or the folds of it that an option names. Transcripts are not needed.

    Raises:
        UserError: The option names no fold, or one twice, or a corpus cannot be read.
    """
    from bench.accuracy import corpora
    from bench.accuracy.corpora.reference import parse_reference, with_fold

    def load(number: int) -> "Corpus":
        return corpora.load(with_fold(spec, number), missing_text="empty")

    if fold is None:
        return [corpora.load(spec, missing_text="empty")]
    if fold == "all":
        if (own := parse_reference(spec).fold) is not None:
            raise UserError(f"{spec} is fold {own}, but --fold says all", hint="Give the fold once.")
        first = load(1)
        return [first, *map(load, range(2, first.folds + 1))]
    names = split_names(fold)
    for name in names:
        if not is_number(name):
            raise UserError(f"no such fold: {name!r}", hint=_HINT)
    numbers = [int(name) for name in names]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"--fold {fold} names a fold twice", hint="Give each fold once.")
    return [load(number) for number in numbers]
