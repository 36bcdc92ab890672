"""Lists on the command line."""

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
