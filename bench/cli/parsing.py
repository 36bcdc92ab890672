"""Reads the values of options that hold several names."""

from mixers.support.errors import UserError


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a text with commas between them, without blanks around them.

    Raises:
        UserError: A name is empty.
    """
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UserError(f"{text!r} has an empty name", hint="Give names with commas between them, for instance sa,kda.")
    return names
