"""Files and folders that commands write. Each is whole or not there, and no new folder replaces an old one."""

import contextlib
import errno
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.locking import being_written, holder
from mixers.support.errors import UserError


def check_new(folder: Path, *, resumable_with: str | None = None) -> None:
    """Check that a folder is free for a new sweep or run.

    Args:
        folder: The folder.
        resumable_with: The file of a folder in which the command can --resume, for the hint; None if it cannot.

    Raises:
        UserError: It exists, or cannot.
    """
    try:
        exists = folder.exists()
    except OSError as error:  # for instance a name that is too long
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint="Give another --output.") from None
    if exists and (who := holder(folder)):
        raise UserError(being_written(folder, who), hint="Give another --output.")
    if exists:
        kind = "folder" if folder.is_dir() else "file"
        resumable = resumable_with is not None and (folder / resumable_with).exists()
        hint = f"Give another --output{', or continue in it with --resume' if resumable else ''}."
        raise UserError(f"the output {kind} {folder} exists", hint=hint)


def remedy(error: OSError) -> str:
    """Return what helps where a file cannot be written: room on a full disk, otherwise permission."""
    return "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Check that you may write there"


def resume_command(command: str, folder: Path) -> str:
    """Return the shell command that continues ``sweep`` or ``train`` in a folder."""
    return f"sbench {command} --resume {shlex.quote(str(folder))}"


def absolute_folder(name: str) -> str:
    """Return the absolute path of a folder. Any other name, such as an id on the Hugging Face hub, stays as it is."""
    return str(Path(name).absolute()) if name and Path(name).is_dir() else name


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary path for a new folder. It gets its name after the block, and is removed if the block fails.

    Raises:
        OSError: The folder cannot get its name.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def make(folder: Path, *, file: str, content: str) -> None:
    """Make a new folder with one file in it. The folder never exists without the whole file.

    Raises:
        UserError: It exists or cannot be written.
    """
    check_new(folder, resumable_with=file)
    try:
        with whole(folder) as partial:
            partial.mkdir(parents=True)
            (partial / file).write_text(content, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint="Give another --output.") from None


def make_folder_for(file: Path) -> None:
    """Make the folder of a file that will be written, if it is missing.

    Raises:
        UserError: It cannot be made, or the file's path is a folder.
    """
    try:
        if file.is_dir():
            raise UserError(f"{file} is a folder", hint="Give the name of a file as --output.")
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "Give another --output."
        raise UserError(f"{file} cannot be written: {error.strerror}", hint=hint) from None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under another name in the same folder, then rename it. An older file stays until then.

    What is no file, such as ``/dev/stdout``, is written to as it is, so that no file replaces it.

    Raises:
        OSError: The file cannot be written. An older file is still there.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
