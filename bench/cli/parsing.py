"""Lists on the command line."""

import mixers
from mixers.support.errors import UserError


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a list separated by commas, without blanks around them.

    Raises:
        UserError: A name is empty.
    """
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UserError(f"a name is missing in {text!r}", hint="Separate the names by single commas: a,b")
    return names


def split_mixers(text: str) -> tuple[str, ...]:
    """Return the mixers in a list separated by commas, each once, with those of the groups that it names.

    Raises:
        UserError: A name is empty, or neither a mixer nor a group.
    """
    return tuple(mixers.expand(split_names(text)))


def parse_number(text: str, option: str, *, or_else: str) -> float:
    """Return the number that an option gives.

    Raises:
        UserError: It is none; `or_else` is what the option takes besides numbers.
    """
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{option} {text} is no number", hint=f"Give a number such as 5.5, or {or_else}.") from None
