import pytest

from service.api.fields import gather
from service.errors import OptionError

LISTS = frozenset({"include"})


@pytest.mark.parametrize("spelling", ["include", "include[]", "include[0]"])
def test_every_spelling_of_a_list_is_the_same(spelling: str) -> None:
    assert gather([(spelling, "a")], lists=LISTS) == {"include": ["a"]}


def test_repeated_list_keeps_its_order() -> None:
    assert gather([("include[]", "b"), ("include", "a")], lists=LISTS) == {"include": ["b", "a"]}


def test_bracketed_keys_make_a_record() -> None:
    assert gather([("vad[type]", "x"), ("vad[threshold]", "1")], lists=LISTS) == {
        "vad": {"type": "x", "threshold": "1"}
    }


def test_empty_value_means_not_given() -> None:
    assert gather([("language", ""), ("include[]", "  ")], lists=LISTS) == {}


@pytest.mark.parametrize(
    "fields",
    [
        [("model", "a"), ("model", "a")],
        [("model", "a"), ("model[]", "a")],
        [("model", "a"), ("model[x]", "a")],
        [("model[x]", "a"), ("model[x]", "a")],
    ],
)
def test_single_value_given_twice_is_an_error_that_names_it(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(OptionError, match="model") as caught:
        gather(fields, lists=LISTS)
    assert caught.value.param == "model"


@pytest.mark.parametrize("name", ["", "[]", "a[b][c]", "a]b"])
def test_names_that_nobody_uses_are_ignored(name: str) -> None:
    assert gather([(name, "x")], lists=LISTS) == {}
