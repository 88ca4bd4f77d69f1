import math
from dataclasses import replace

import pytest

from model_store.manifest import Manifest
from service.engine.choice import AUTO, Choices
from service.engine.fake import model_info
from service.engine.plan import Budget, Candidate, plan
from service.errors import ModelNotFound, ModelUnavailable, NothingFits
from tests.engine.plans import budget, candidate

TINY_FP32 = model_info("whisper-tiny.en", "fp32").manifest
TINY_INT8 = model_info("whisper-tiny.en", "int8").manifest
BASE_FP32 = model_info("whisper-base", "fp32").manifest.model_copy(update={"languages": ("en", "de")})
STORE = (BASE_FP32, TINY_FP32, TINY_INT8)


def choices(
    *candidates: Candidate,
    limits: Budget | None = None,
    store: tuple[Manifest, ...] = STORE,
    default: str = AUTO,
    fast_int8: bool = True,
) -> Choices:
    """With a plan of these candidates, or none; the budget has no limit that somebody set, unless it is given."""
    known = {one.name: one for one in candidates}
    all_ = [known.get(manifest.name, unprofiled(manifest)) for manifest in store]
    within = limits or replace(budget(), wer_loss=replace(budget().wer_loss, chosen=False))
    plans = {model: plan([one for one in all_ if one.model == model], within) for model in {one.model for one in all_}}
    return Choices(store, plans | {AUTO: plan(all_, within)}, default, fast_int8)


def unprofiled(manifest: Manifest) -> Candidate:
    return replace(candidate(manifest.name, loss=None), costs=None, languages=manifest.languages)


def measured(name: str, *, latency_ms: float = 100, mb: int = 200, loss: float = 0.0) -> Candidate:
    languages = ("en", "de") if name.startswith("whisper-base") else ("en",)
    return replace(candidate(name, latency_ms=latency_ms, mb=mb, loss=loss), languages=languages)


FAST_FP32 = measured("whisper-tiny.en:fp32", latency_ms=50)
SLOW_INT8 = measured("whisper-tiny.en:int8", latency_ms=60)
SLOWER_BASE = measured("whisper-base:fp32", latency_ms=90)


def test_a_bare_model_is_served_by_the_first_of_its_plan() -> None:
    choice = choices(FAST_FP32, SLOW_INT8, SLOWER_BASE).choose("whisper-tiny.en")
    assert choice.name == "whisper-tiny.en:fp32"
    assert choice.reason.startswith("the lowest latency of 2; 50 ms")
    assert choice.planned is not None


def test_auto_without_a_default_is_the_first_of_the_plan_for_all_models() -> None:
    all_ = choices(FAST_FP32, SLOW_INT8, measured("whisper-base:fp32", latency_ms=9))
    assert all_.choose(AUTO).name == "whisper-base:fp32"


def test_auto_is_the_default_model() -> None:
    candidates = FAST_FP32, SLOW_INT8, measured("whisper-base:fp32", latency_ms=9)
    assert choices(*candidates, default="whisper-tiny.en").choose(AUTO).name == "whisper-tiny.en:fp32"
    assert choices(*candidates, default="whisper-tiny.en:int8").choose(AUTO).name == "whisper-tiny.en:int8"


def test_auto_takes_a_model_that_knows_the_language() -> None:
    found = choices(FAST_FP32, SLOW_INT8, SLOWER_BASE)
    assert found.choose(AUTO, language="de").name == "whisper-base:fp32"
    assert found.choose(AUTO, language="en").name == "whisper-tiny.en:fp32"
    assert found.choose(AUTO, language="tlh").name == "whisper-tiny.en:fp32"


@pytest.mark.parametrize("name", ["whisper-tiny.en:fp32", "whisper-tiny.en:int8", "whisper-base:fp32"])
def test_a_variant_that_is_named_is_taken_however_slow_it_is(name: str) -> None:
    choice = choices(FAST_FP32, SLOW_INT8, limits=budget(latency_ms=1)).choose(name)
    assert (choice.name, choice.reason) == (name, "asked for by name")


def test_a_variant_that_is_named_is_not_served_in_more_memory_than_somebody_allowed() -> None:
    with pytest.raises(NothingFits) as caught:
        choices(FAST_FP32, limits=budget(mb=100, latency_ms=1)).choose("whisper-tiny.en:fp32")
    assert str(caught.value) == (
        "Nothing of 'whisper-tiny.en:fp32' fits the budget. "
        "What would do: 200 MB of memory for whisper-tiny.en:fp32 (WREN_MEMORY). "
        "Ruled out: whisper-tiny.en:fp32 needs 200 MB, there are 100 MB (WREN_MEMORY)."
    )
    unmeasured = choices(FAST_FP32, limits=budget(mb=100)).choose("whisper-tiny.en:int8")
    assert unmeasured.reason == "asked for by name"


@pytest.mark.parametrize("name", ["whisper-tiny.en:int8", "whisper-tiny.en"])
def test_what_this_machine_cannot_run_is_unavailable_with_the_reason(name: str) -> None:
    impossible = [replace(one, unable="needs OpenVINO", costs=None) for one in (FAST_FP32, SLOW_INT8)]
    with pytest.raises(ModelUnavailable, match="needs OpenVINO"):
        choices(*impossible).choose(name)


def test_what_this_machine_cannot_run_is_known_by_its_name() -> None:
    found = choices(FAST_FP32, replace(SLOW_INT8, unable="needs OpenVINO", costs=None), limits=budget(mb=1))
    names = ("whisper-tiny.en:int8", "whisper-tiny.en:fp32", "whisper-base:fp32")
    assert [found.unable(name) for name in names] == ["needs OpenVINO", None, None]


@pytest.mark.parametrize(("fast_int8", "name"), [(True, "int8"), (False, "fp32")])
def test_where_nothing_was_measured_the_processor_decides(fast_int8: bool, name: str) -> None:
    choice = choices(fast_int8=fast_int8).choose("whisper-tiny.en")
    assert choice.name == f"whisper-tiny.en:{name}"
    assert choice.reason.startswith("no plan, for too little was measured here; this processor has ")
    assert choice.planned is None


def test_where_nothing_was_measured_what_cannot_run_is_passed_over() -> None:
    found = choices(replace(SLOW_INT8, unable="needs OpenVINO", costs=None))
    assert found.choose("whisper-tiny.en").name == "whisper-tiny.en:fp32"


def test_what_there_is_serves_where_there_is_no_choice() -> None:
    half = BASE_FP32.model_copy(update={"variant": "half", "precision": "fp16"})
    assert choices(store=(half,)).choose("whisper-base").name == "whisper-base:half"
    assert choices(store=(half,)).choose(AUTO).name == "whisper-base:half"


def test_a_limit_of_the_machine_is_no_reason_to_refuse() -> None:
    machine = replace(budget(mb=100), memory=replace(budget(mb=100).memory, chosen=False))
    assert choices(FAST_FP32, SLOW_INT8, limits=machine).choose("whisper-tiny.en").name == "whisper-tiny.en:int8"


@pytest.mark.parametrize("limits", [budget(mb=100), budget(latency_ms=10)])
def test_a_limit_that_was_set_is_kept_and_the_nearest_told(limits: Budget) -> None:
    with pytest.raises(NothingFits, match=r"What would do: (200 MB of memory|50 ms) for whisper-tiny\.en:fp32"):
        choices(FAST_FP32, limits=limits).choose("whisper-tiny.en")


def test_a_loss_that_was_set_rules_out_and_what_is_unknown_serves() -> None:
    lossy = measured("whisper-tiny.en:int8", loss=2)
    strict = replace(budget(loss=1), wer_loss=replace(budget(loss=1).wer_loss, chosen=True))
    assert choices(lossy, limits=strict).choose("whisper-tiny.en").name == "whisper-tiny.en:fp32"
    with pytest.raises(NothingFits, match="2 points of WER lost"):
        choices(lossy, limits=strict, store=(TINY_INT8,)).choose("whisper-tiny.en")


@pytest.mark.parametrize("name", ["whisper-large", "whisper-tiny.en:int4", "", ":"])
def test_what_is_not_here_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        choices().choose(name)
    assert caught.value.known == ("whisper-base:fp32", "whisper-tiny.en:fp32", "whisper-tiny.en:int8")


@pytest.mark.parametrize("name", [AUTO, "whisper-base"])
def test_an_empty_store_has_nothing(name: str) -> None:
    with pytest.raises(ModelNotFound, match="Available: none"):
        choices(store=()).choose(name)


def test_an_unlimited_budget_takes_what_was_never_evaluated() -> None:
    unknown = replace(SLOW_INT8, wer_loss=None)
    assert choices(unknown, limits=budget(loss=math.inf)).choose("whisper-tiny.en").name == "whisper-tiny.en:int8"
