"""What is wrong with options is told, and forgotten."""

import gc
import weakref

import pytest

from service.api import forms
from service.errors import OptionError


@pytest.mark.parametrize(
    "field",
    [
        ("stream", "true"),  # does not go with verbose_json, which a check of the whole form finds
        ("keep_alive", "soon"),  # a check of the field that raises an error of ours
        ("language", "klingon"),
        ("temperature", "hot"),
    ],
)
def test_an_error_is_freed_when_it_was_told(field: tuple[str, str]) -> None:
    def told() -> "weakref.ref[OptionError]":
        try:
            forms.parse([("model", "auto"), ("response_format", "verbose_json"), field])
        except OptionError as error:
            return weakref.ref(error)
        raise AssertionError("nothing was wrong")

    error = told()
    gc.collect()
    assert error() is None
