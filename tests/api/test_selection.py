from dataclasses import replace

import pytest

from model_store.manifest import Precision
from service.api.selection import CLOUD_NAMES, Selection, find, names_of, select
from service.engine.fake import model_info
from service.errors import ModelNotFound, OptionError

INT8 = replace(model_info("tiny", "int8", default=True), first=True)
FP32 = model_info("tiny", "fp32")
BASE = model_info("base", "fp32", default=True)
INFOS = (FP32, INT8, BASE)


def chosen(asked: str, *, variant: str | None = None, precision: Precision | None = None) -> Selection:
    return select(INFOS, asked=asked, variant=variant, precision=precision)


@pytest.mark.parametrize("name", ["auto", *CLOUD_NAMES])
def test_cloud_names_and_auto_leave_all_to_the_engine(name: str) -> None:
    assert chosen(name) == Selection("auto")
    assert find(INFOS, name) is INT8


def test_bare_name_leaves_the_variant_to_the_engine() -> None:
    assert chosen("base") == Selection("base")
    assert find(INFOS, "tiny") is INT8


def test_variant_is_taken_from_the_name_or_the_field() -> None:
    assert chosen("tiny:fp32") == Selection("tiny:fp32")
    assert chosen("tiny", variant="fp32") == Selection("tiny:fp32")
    assert chosen("whisper-1", variant="fp32") == Selection("tiny:fp32")
    assert find(INFOS, "tiny:fp32") is FP32


def test_precision_is_a_wish_that_goes_with_the_bare_name() -> None:
    assert chosen("tiny", precision="fp32") == Selection("tiny", "fp32")
    assert chosen("whisper-1", precision="bf16") == Selection("auto", "bf16")


def test_precision_of_an_ordered_variant_must_be_its_own() -> None:
    assert chosen("tiny:fp32", precision="fp32") == Selection("tiny:fp32")
    assert chosen("tiny", variant="int8", precision="int8") == Selection("tiny:int8")
    with pytest.raises(OptionError, match=r"Available: tiny:fp32 \(fp32\)") as caught:
        chosen("tiny:fp32", precision="int8")
    assert caught.value.param == "precision"


@pytest.mark.parametrize("name", ["nope", "tiny:int4", "tiny:", "org/tiny"])
def test_unknown_model_is_not_found_and_the_error_lists_what_is_there(name: str) -> None:
    with pytest.raises(ModelNotFound, match="tiny:int8"):
        chosen(name)


def test_unknown_variant_lists_what_is_there() -> None:
    with pytest.raises(OptionError, match=r"tiny:fp32 \(fp32\), tiny:int8 \(int8\)") as caught:
        chosen("auto", variant="int4")
    assert caught.value.param == "variant"


def test_variant_that_contradicts_the_name_is_refused() -> None:
    with pytest.raises(OptionError) as caught:
        chosen("tiny:int8", variant="fp32")
    assert caught.value.param == "variant"


def test_empty_store_is_a_model_not_found() -> None:
    with pytest.raises(ModelNotFound, match="none"):
        select((), asked="auto")


def test_what_serves_has_the_names_that_mean_it() -> None:
    assert names_of(INT8) == ("tiny", "auto", *CLOUD_NAMES)
    assert names_of(BASE) == ("base",)
    assert names_of(FP32) == ()
    assert names_of(replace(FP32, first=True)) == ("auto", *CLOUD_NAMES)
