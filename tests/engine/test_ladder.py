import math
from dataclasses import replace
from itertools import pairwise

import pytest

from model_store.manifest import Manifest, Precision
from service.engine.ladder import STEP, Ladder, Rung, given_ladder, ladder, named, rung_of
from service.engine.plan import WER_TIE, Budget, Candidate, Plan, plan
from tests.engine.plans import COSTS, MB, budget, candidate, drawn, evaluated

FP32 = replace(candidate("tiny:fp32", latency_ms=50, speed=107), base=True)
BF16 = candidate("tiny:bf16", loss=0.1, latency_ms=60, mb=220, speed=180)
INT8 = candidate("tiny:int8", loss=0.4, latency_ms=68, mb=150, speed=237)
TENSOR = candidate("tiny:int8-tensor", loss=0.45, latency_ms=70, speed=254)
PRUNED = candidate("tiny:pruned", loss=2.0, latency_ms=70, speed=400)
ALL = (FP32, BF16, INT8, TENSOR, PRUNED)


def planned(*candidates: Candidate, limits: Budget | None = None) -> Plan:
    return plan(candidates, limits or budget(loss=3))


def manifest(name: str, precision: Precision, *, parent: str | None = "tiny:fp32") -> Manifest:
    return evaluated(name, parent=parent).model_copy(update={"precision": precision})


STORE = (
    manifest("base:fp32", "fp32", parent=None),
    manifest("tiny:bf16", "bf16"),
    manifest("tiny:fp32", "fp32", parent=None),
    manifest("tiny:int8", "int8"),
    manifest("tiny:int8-tensor", "int8"),
    manifest("tiny:pruned", "fp32"),
)


def names(found: Ladder) -> list[str]:
    return [rung.name for rung in found.rungs]


def loss(rung: Rung) -> float:
    return math.inf if rung.wer_loss is None else rung.wer_loss


def given(*listed: str, of: Plan | None = None, model: str = "tiny") -> Ladder:
    return given_ladder(listed, STORE, of or planned(*ALL), model=model)


def test_each_rung_is_markedly_quicker_for_the_least_loss() -> None:
    assert names(ladder(planned(FP32, BF16, INT8, PRUNED))) == ["tiny:fp32", "tiny:bf16", "tiny:int8", "tiny:pruned"]


def test_of_losses_that_are_equal_the_quickest_is_taken() -> None:
    assert names(ladder(planned(FP32, INT8, TENSOR))) == ["tiny:fp32", "tiny:int8-tensor"]


def test_a_variant_that_is_hardly_quicker_is_no_rung() -> None:
    slower = candidate("tiny:int8", latency_ms=68, speed=107 * (1 + STEP) - 0.1)
    assert names(ladder(planned(FP32, slower))) == ["tiny:fp32"]


def test_rungs_say_why_they_are_there_with_figures() -> None:
    found = ladder(planned(FP32, BF16, INT8))
    first, second, third = found.rungs
    assert first.reason.startswith("the lowest latency of 3; 50 ms, 107 times real time")
    assert second.reason == (
        "180 times real time instead of 107; +0.10 points of WER against tiny:fp32, "
        "the least, give or take 0.1, of 2 so much quicker"
    )
    assert third.reason.endswith("the only one so much quicker")
    assert (second.speed, second.latency_ms, second.wer_loss) == (180, 60, 0.1)
    assert second.memory_bytes is not None
    assert second.memory_bytes >= 220 * MB
    assert found.place("tiny:int8") == 2
    assert found.place("tiny:int4") is None


def test_what_passes_a_limit_is_no_rung_and_an_empty_plan_has_none() -> None:
    assert names(ladder(planned(*ALL, limits=budget(loss=0.2)))) == ["tiny:fp32", "tiny:bf16"]
    assert ladder(planned(*ALL, limits=budget(mb=10))) == Ladder(())


def test_another_model_is_a_rung_if_it_can_be_compared_and_knows_the_languages() -> None:
    large = replace(candidate("base:fp32", latency_ms=40, speed=50), languages=("en", "de"))
    assert names(ladder(planned(large, FP32))) == ["base:fp32"]
    assert names(ladder(planned(large, replace(FP32, languages=("de", "en"))))) == ["base:fp32", "tiny:fp32"]
    assert names(ladder(planned(replace(large, languages=("en",)), replace(FP32, comparable=False)))) == ["base:fp32"]


def test_variants_of_one_model_can_always_be_compared_with_each_other() -> None:
    alone = [replace(one, comparable=False) for one in (FP32, INT8)]
    assert names(ladder(planned(*alone))) == ["tiny:fp32", "tiny:int8"]


def test_a_loss_that_nobody_measured_comes_last() -> None:
    unknown = replace(BF16, wer_loss=None)
    found = ladder(planned(FP32, unknown, INT8, limits=budget(loss=math.inf)))
    assert names(found) == ["tiny:fp32", "tiny:int8"]
    quickest = replace(unknown, costs=replace(COSTS, speed=400))
    found = ladder(planned(FP32, quickest, INT8, limits=budget(loss=math.inf)))
    assert names(found) == ["tiny:fp32", "tiny:int8", "tiny:bf16"]
    assert "loss of WER unknown" in found.rungs[-1].reason


@pytest.mark.parametrize("seed", range(20))
def test_every_ladder_of_any_plan_goes_up_in_speed_and_leaves_nothing_better_out(seed: int) -> None:
    for candidates, limits in drawn(seed):
        found = plan(candidates, limits)
        rungs = ladder(found).rungs
        assert bool(rungs) == bool(found.chosen)
        speeds = [rung.speed or 0 for rung in rungs]
        assert all(below >= (1 + STEP) * above for above, below in pairwise(speeds))
        for above, below in pairwise(rungs):
            quicker = [one for one in found.chosen if one.speed >= (1 + STEP) * (above.speed or 0)]
            assert loss(below) <= min(loss(rung_of(one.name, found)) for one in quicker) + WER_TIE


def test_an_operators_ladder_is_taken_in_its_order() -> None:
    found = given("fp32", "int8", "bf16")
    assert names(found) == ["tiny:fp32", "tiny:int8", "tiny:bf16"]
    assert found.rungs[1].reason == "listed in WREN_LADDER; 237 times real time; +0.40 points of WER"
    assert found.rungs[2].reason.endswith("; not quicker than tiny:int8 above it with 237")


def test_a_listed_precision_is_the_first_such_variant_of_the_plan() -> None:
    renamed = tuple(one.model_copy(update={"variant": "eight"}) if one.name == "tiny:int8" else one for one in STORE)
    of = planned(FP32, TENSOR)
    assert named("int8", renamed, of, model="tiny") == "tiny:int8-tensor"
    assert named("fp32", STORE, planned(PRUNED), model="tiny") == "tiny:fp32"  # of this name
    halves = (manifest("tiny:half-b", "fp16"), manifest("tiny:half-a", "fp16"))
    assert named("fp16", halves, of, model="tiny") == "tiny:half-a"
    assert named("fp16", (*halves, manifest("tiny:whole", "fp16", parent=None)), of, model="tiny") == "tiny:whole"


def test_a_listed_variant_may_be_of_another_model_which_the_plan_need_not_know() -> None:
    found = given("base:fp32", "tiny:int8")
    assert found.rungs[0] == Rung(
        "base:fp32", reason="listed in WREN_LADDER; speed unknown: wren profile; loss of WER unknown"
    )
    assert names(given("fp32", "int8", model="auto")) == ["tiny:fp32", "tiny:int8"]


def test_what_is_listed_twice_by_whatever_name_is_one_rung() -> None:
    assert names(given("int8", "tiny:int8", "fp32")) == ["tiny:int8", "tiny:fp32"]


def test_what_cannot_run_or_has_no_memory_is_left_out_with_the_reason() -> None:
    unable = replace(BF16, unable="needs bfloat16", costs=None)
    found = given("bf16", "fp32", "int8", of=planned(FP32, unable, INT8, limits=budget(mb=180, loss=3)))
    assert names(found) == ["tiny:int8"]
    assert found.left_out == (
        ("tiny:bf16", "needs bfloat16"),
        ("tiny:fp32", "needs 200 MB, there are 180 MB (WREN_MEMORY)"),
    )


def test_limits_of_latency_and_of_loss_do_not_bind_who_lists_a_variant() -> None:
    found = given("fp32", "pruned", of=planned(FP32, PRUNED, limits=budget(latency_ms=60, loss=0.5)))
    assert names(found) == ["tiny:fp32", "tiny:pruned"]
    assert found.rungs[1].speed == 400


def test_a_plan_tells_what_it_knows_of_a_variant() -> None:
    of = planned(FP32, replace(PRUNED, costs=None))
    assert rung_of("tiny:pruned", of) == Rung("tiny:pruned", wer_loss=2.0)
    assert rung_of("tiny:int2", of) == Rung("tiny:int2")
    assert rung_of("tiny:fp32", of).speed == 107


@pytest.mark.parametrize("name", ["int2", "tiny:int2", "large:fp32", ""])
def test_a_name_that_means_nothing_is_left_out_and_told(name: str) -> None:
    found = given(name, "fp32")
    assert names(found) == ["tiny:fp32"]
    assert found.left_out == ((name, "the store has no such variant"),)
