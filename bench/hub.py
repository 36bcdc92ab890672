"""What transformers and the Hugging Face hub do beside loading: progress bars, retries and errors of many types."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixers.support.errors import UserError

# The hub must answer within this time. Otherwise transformers would retry for 23 s without a network.
_HUB_TIMEOUT_S = 5


def locate(name: str, *, hint: str, instead: str) -> tuple[bool, str]:
    """Find out where a model can be loaded from. The hub is asked once, unless the name is a folder.

    Args:
        name: An id on the hub, or a folder.
        hint: What can be given.
        instead: What needs no download, as a sentence.

    Returns:
        Whether only local files can be loaded, and the hint for a model that cannot be loaded from there.

    Raises:
        UserError: The name is no valid id, or the hub has no such model.
    """
    if name and Path(name).is_dir():
        return True, hint
    if _hub_answers(name, hint=hint):
        return False, hint
    folder = name.rpartition("/")[2]
    download = f"run `hf download {name} --local-dir {folder}`, copy the folder here, and give its path"
    return True, f"There is no network to the Hugging Face hub. Where there is one, {download}. {instead}"


def _hub_answers(name: str, *, hint: str) -> bool:
    """Ask the hub for a model. False if it cannot be reached: only earlier downloads can then be loaded."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        HfApi().model_info(name, timeout=_HUB_TIMEOUT_S)
    except HFValidationError:
        raise UserError(f"no such encoder: {name!r} is neither a folder nor a valid id", hint=hint) from None
    except RepositoryNotFoundError:
        raise UserError(f"no such encoder on the Hugging Face hub: {name!r}", hint=hint) from None
    except Exception:  # the type depends on the HTTP client, and so on huggingface_hub's version
        return False
    return True


def hide_progress_bars() -> None:
    """Turn off transformers' progress bars from now on: they would disturb ours."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def one_line(name: str, *, hint: str) -> Iterator[None]:
    """Turn any error of transformers and the libraries below it into one line; they have no common type."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"cannot load the encoder {name!r}: {reason}", hint=hint) from None
