import pytest

from model_store.manifest import Manifest
from service.engine.choice import choose
from service.engine.fake import model_info
from service.errors import ModelNotFound

TINY_FP32 = model_info("whisper-tiny.en", "fp32").manifest
TINY_INT8 = model_info("whisper-tiny.en", "int8").manifest
BASE_FP32 = model_info("whisper-base", "fp32").manifest
VAD = model_info("silero-vad", "fp32").manifest.model_copy(update={"family": "silero"})
STORE = (VAD, BASE_FP32, TINY_FP32, TINY_INT8)


def chosen(name: str, *, store: tuple[Manifest, ...] = STORE, default: str = "auto", fast_int8: bool = True) -> str:
    return choose(name, store, default=default, fast_int8=fast_int8).name


@pytest.mark.parametrize("fast_int8", [True, False])
@pytest.mark.parametrize("name", ["whisper-tiny.en:fp32", "whisper-tiny.en:int8", "whisper-base:fp32"])
def test_a_variant_that_is_named_is_taken(name: str, fast_int8: bool) -> None:
    choice = choose(name, STORE, default="auto", fast_int8=fast_int8)
    assert (choice.name, choice.reason) == (name, "asked for by name")


def test_a_bare_model_is_served_by_what_suits_the_processor() -> None:
    assert chosen("whisper-tiny.en", fast_int8=True) == "whisper-tiny.en:int8"
    assert chosen("whisper-tiny.en", fast_int8=False) == "whisper-tiny.en:fp32"


@pytest.mark.parametrize(("fast_int8", "reason"), [(True, "has fast INT8"), (False, "has no fast INT8")])
def test_the_reason_names_the_processor(fast_int8: bool, reason: str) -> None:
    assert reason in choose("whisper-tiny.en", STORE, default="auto", fast_int8=fast_int8).reason


@pytest.mark.parametrize("fast_int8", [True, False])
def test_what_there_is_serves_where_there_is_no_choice(fast_int8: bool) -> None:
    assert chosen("whisper-base", fast_int8=fast_int8) == "whisper-base:fp32"
    other = BASE_FP32.model_copy(update={"variant": "half", "precision": "fp16"})
    choice = choose("whisper-base", (other,), default="auto", fast_int8=fast_int8)
    assert (choice.name, choice.reason) == ("whisper-base:half", "the only kind there is")


def test_auto_is_the_default() -> None:
    assert chosen("auto", default="whisper-tiny.en") == "whisper-tiny.en:int8"
    assert chosen("auto", default="whisper-tiny.en:fp32") == "whisper-tiny.en:fp32"


def test_auto_without_a_default_is_a_model_that_writes_text() -> None:
    assert chosen("auto", default="auto") == "whisper-base:fp32"


@pytest.mark.parametrize("name", ["whisper-large", "whisper-tiny.en:int4", "", ":", "silero-vad", "silero-vad:fp32"])
def test_what_cannot_write_text_here_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        chosen(name)
    assert caught.value.known == ("whisper-base:fp32", "whisper-tiny.en:fp32", "whisper-tiny.en:int8")


@pytest.mark.parametrize("store", [(), (VAD,)])
@pytest.mark.parametrize("name", ["auto", "whisper-base"])
def test_an_empty_store_has_nothing(name: str, store: tuple[Manifest, ...]) -> None:
    with pytest.raises(ModelNotFound, match="Available: none"):
        chosen(name, store=store)
