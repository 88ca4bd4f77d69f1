from dataclasses import replace

import pytest

from service.api.selection import CLOUD_NAMES, names_of, select
from service.engine.fake import model_info
from service.errors import ModelNotFound, OptionError

INT8 = model_info("tiny", "int8", default=True)
FP32 = model_info("tiny", "fp32")
BASE = model_info("base", "fp32", default=True)
INFOS = (FP32, INT8, BASE)


def chosen(asked: str, *, variant: str | None = None, precision: str | None = None) -> str:
    return select(INFOS, asked=asked, default="tiny", variant=variant, precision=precision).model


@pytest.mark.parametrize("name", ["auto", *CLOUD_NAMES])
def test_cloud_names_and_auto_mean_the_default_model(name: str) -> None:
    selection = select(INFOS, asked=name, default="tiny")
    assert selection.model == "tiny"
    assert selection.expected is INT8


def test_the_reason_is_that_of_the_plan_unless_the_variant_is_named() -> None:
    planned = replace(INT8, reason="the lowest latency")
    reasons = [select((FP32, planned), asked=name, default="tiny").reason for name in ("auto", "tiny", "tiny:int8")]
    assert reasons == ["the lowest latency", "the lowest latency", "asked for by name"]


def test_auto_as_default_is_the_first_of_the_plan() -> None:
    first = replace(BASE, first=True)
    assert select((FP32, INT8, first), asked="auto", default="auto").expected is first
    assert names_of(first, default="auto") == ("base", "auto", *CLOUD_NAMES)
    assert names_of(INT8, default="auto") == ("tiny",)


def test_auto_as_default_leaves_the_model_to_the_engine() -> None:
    assert select(INFOS, asked="whisper-1", default="auto").model == "auto"


def test_bare_name_leaves_the_variant_to_the_engine() -> None:
    assert chosen("base") == "base"


def test_variant_is_taken_from_the_name_or_the_field() -> None:
    assert chosen("tiny:fp32") == "tiny:fp32"
    assert chosen("tiny", variant="fp32") == "tiny:fp32"
    assert chosen("whisper-1", variant="fp32") == "tiny:fp32"


def test_precision_picks_the_variant_that_has_it() -> None:
    assert chosen("tiny", precision="fp32") == "tiny:fp32"
    assert chosen("tiny", precision="int8") == "tiny:int8"


@pytest.mark.parametrize("name", ["nope", "tiny:int4", "tiny:", "org/tiny"])
def test_unknown_model_is_not_found_and_the_error_lists_what_is_there(name: str) -> None:
    with pytest.raises(ModelNotFound, match="tiny:int8"):
        chosen(name)


def test_unknown_precision_lists_what_is_there() -> None:
    with pytest.raises(OptionError, match=r"tiny:fp32 \(fp32\), tiny:int8 \(int8\)") as caught:
        chosen("tiny", precision="int4")
    assert caught.value.param == "precision"


def test_variant_that_contradicts_the_name_is_refused() -> None:
    with pytest.raises(OptionError) as caught:
        chosen("tiny:int8", variant="fp32")
    assert caught.value.param == "variant"


def test_empty_store_is_a_model_not_found() -> None:
    with pytest.raises(ModelNotFound, match="none"):
        select((), asked="auto", default="tiny")


def test_default_variant_of_the_default_model_has_all_names() -> None:
    assert names_of(INT8, default="tiny") == ("tiny", "auto", *CLOUD_NAMES)
    assert names_of(BASE, default="tiny") == ("base",)
    assert names_of(FP32, default="tiny") == ()
    assert names_of(FP32, default="tiny:fp32") == ("auto", *CLOUD_NAMES)
