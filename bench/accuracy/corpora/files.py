"""Reads the folders and text files of a corpus; a failure is one line for the user."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from mixers.support.errors import UserError

_SURROGATE = re.compile("[\ud800-\udfff]")

_PARTLY_COPIED = "The corpus is only partly copied, or this is the wrong folder: {layout}."


def missing(path: Path, *, layout: str) -> UserError:
    """Return the error for a missing part of a corpus.

    Args:
        path: The file or folder.
        layout: What the corpus looks like, in words.
    """
    return UserError(f"{path} is missing", hint=_PARTLY_COPIED.format(layout=layout))


def require_folder(folder: Path, *, layout: str) -> None:
    """Check that a corpus's folder exists.

    Raises:
        UserError: It does not, or it is no folder.
    """
    if not folder.is_dir():
        message = f"{folder} is not a folder" if folder.exists() else f"no such folder: {folder}"
        raise UserError(message, hint=f"Give the folder of the corpus: {layout}.")


def list_files(folder: Path) -> dict[str, Path]:
    """Return the files directly in a folder by name, in alphabetical order; none if there is no such folder.

    `Path.iterdir` would ask the disk about every entry again: MSP-Podcast 2.0 has 264,705 recordings.

    Raises:
        UserError: The folder cannot be listed.
    """
    if not folder.is_dir():
        return {}
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.is_dir())
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}", hint="Check its permissions.") from None
    return {name: folder / name for name in names}


def read_text(path: Path) -> str:
    """Return the content of a UTF-8 file, without a byte order mark.

    Raises:
        UserError: It cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", hint="Check that it exists, complete.") from None
    except UnicodeDecodeError as error:
        hint = "Save it as UTF-8. If it is damaged, copy it again."
        raise UserError(f"{path} is not UTF-8 at byte {error.start}", hint=hint) from None


def read_jsonl(file: Path, *, hint: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the object in each line of a JSONL file, with its place; blank lines are skipped.

    Raises:
        UserError: The file cannot be read, or a line is no JSON object. The hint is then the one given.
    """
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            fields = parse_json(line)
        except ValueError as error:
            raise UserError(f"{where} is not JSON: {error}", hint=hint) from None
        if not isinstance(fields, dict):
            raise UserError(f"{where} is no JSON object", hint=hint)
        yield where, fields


def parse_json(text: str, *, pairs: Callable[[list[tuple[str, object]]], object] = dict) -> object:
    """Return the value of a JSON text.

    Args:
        text: The text.
        pairs: Makes an object from its names and values.

    Raises:
        ValueError: It is not JSON, is nested too deeply or holds half of a surrogate pair, which no file can hold.
    """
    try:
        value: object = json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if "\\ud" in text.lower() and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise ValueError("it holds half of a surrogate pair")
    return value


def string_field(fields: dict[str, object], key: str, where: str, *, hint: str) -> str:
    """Return a field that must be a string with something in it.

    Raises:
        UserError: It is missing, empty or no string.
    """
    value = fields.get(key)
    if value is None:
        raise UserError(f"{where} has no {key}", hint=hint)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: {key} must be a non-empty string, not {value!r}", hint=hint)
    return value
