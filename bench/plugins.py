"""The plug-ins that a sweep or a training used, and how they are found again. Imports no torch."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import mixers
from mixers.support.errors import UserError
from mixers.support.plugins import Plugin


def used(names: Iterable[str]) -> tuple[Plugin, ...]:
    """Return the plug-ins among some mixers, each once."""
    found = (mixers.plugin(each) for each in dict.fromkeys(part for name in names for part in mixers.parts(name)))
    return tuple(each for each in found if each is not None)


def find_again(plugins: Sequence[Plugin], *, needed_by: Path) -> list[str]:
    """Let the plug-ins that a folder needs be mixers in this process, and describe each that has changed.

    A file is looked for where it was, unless the command line names one for the same mixer.

    Args:
        plugins: Those that it was begun with.
        needed_by: The folder.

    Raises:
        UserError: One is not there.
    """
    given = {path.stem for path in mixers.files()}
    for each in plugins:
        if each.file and each.mixer not in given:
            if not Path(each.file).is_file():
                hint = f"Say where it is now: --plugin {Path(each.file).name}"
                raise UserError(f"{needed_by} needs the plug-in {each.file}, which is not there", hint=hint)
            mixers.add_file(Path(each.file))
        elif each.mixer not in mixers.names():
            message = f"{needed_by} needs the mixer {each.mixer} of {each.origin}, which is not installed"
            raise UserError(message, hint=f"Install it: pip install {each.origin.partition(' ')[0]}")
    now = {each.mixer: each.origin for each in used(each.mixer for each in plugins)}
    return [
        f"{each.mixer} of {each.origin} then, of {now.get(each.mixer, 'sbench')} now"
        for each in plugins
        if now.get(each.mixer) != each.origin
    ]
