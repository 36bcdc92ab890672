import pytest

from bench.cli.parsing import split_names
from mixers.support.errors import UserError


def test_names_are_split_at_commas() -> None:
    assert split_names("sa") == ("sa",)
    assert split_names("sa, kda ,fox/flex") == ("sa", "kda", "fox/flex")


@pytest.mark.parametrize("text", ["", " ", "sa,", "sa,,kda", ",sa"])
def test_an_empty_name_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="missing") as caught:
        split_names(text)
    assert caught.value.hint
