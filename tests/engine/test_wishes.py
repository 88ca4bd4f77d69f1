from dataclasses import replace
from typing import get_args

import pytest

from model_store.manifest import Precision
from service.engine.ladder import Ladder, rung_of
from service.engine.plan import Budget, Candidate, Plan, plan
from service.engine.precision import Orders
from service.engine.wishes import INSTEAD, Scene, grant
from tests.engine.plans import budget, candidate


def variant(
    name: str,
    precision: Precision,
    *,
    latency_ms: float = 60,
    speed: float = 120,
    mb: int = 200,
    loss: float | None = 0.0,
) -> Candidate:
    return replace(candidate(name, latency_ms=latency_ms, speed=speed, mb=mb, loss=loss), precision=precision)


FP32 = replace(variant("tiny:fp32", "fp32", latency_ms=107, speed=107), base=True)
FP16 = variant("tiny:fp16", "fp16", latency_ms=105, speed=138, mb=400)
BF16 = variant("tiny:bf16", "bf16", latency_ms=55, speed=180)
INT8 = variant("tiny:int8", "int8", latency_ms=68, speed=237, loss=0.3)
PRUNED = variant("tiny:pruned30-int8", "int8", latency_ms=70, speed=240, loss=0.9)
INT4 = variant("tiny:int4", "int4", latency_ms=80, speed=150, mb=100, loss=1.2)
ALL = (FP32, FP16, BF16, INT8, PRUNED, INT4)


def planned(*candidates: Candidate, limits: Budget | None = None) -> Plan:
    return plan(candidates, limits or budget(loss=3))


def scene(
    of: Plan, *, serving: Candidate = BF16, rungs: tuple[str, ...] = ("tiny:fp32", "tiny:bf16", "tiny:int8")
) -> Scene:
    known = {one.name for one in of.chosen} | {one.name for one in of.excluded}
    ladder = Ladder(tuple(rung_of(name, of) for name in rungs if name in known))
    return Scene(serving.name, serving.precision, ladder)


def granted(wish: Precision, of: Plan | None = None, among: Scene | None = None) -> str:
    of = of or planned(*ALL)
    return grant(wish, of, among or scene(of))[0]


def reason(wish: Precision, of: Plan | None = None, among: Scene | None = None) -> str:
    of = of or planned(*ALL)
    return grant(wish, of, among or scene(of))[1]


@pytest.mark.parametrize(
    ("wish", "name"), [("fp32", "tiny:fp32"), ("fp16", "tiny:fp16"), ("int8", "tiny:int8"), ("int4", "tiny:int4")]
)
def test_a_wish_is_granted_by_the_first_such_variant_of_the_plan(wish: Precision, name: str) -> None:
    assert (granted(wish), reason(wish)) == (name, f"{wish} wished for")


def test_a_wish_for_what_serves_is_what_serves_though_the_plan_prefers_another() -> None:
    of = planned(*ALL)
    assert grant("int8", of, scene(of, serving=PRUNED)) == ("tiny:pruned30-int8", "int8 wished for, and it serves")


def test_what_the_model_does_not_have_is_replaced_by_what_comes_nearest() -> None:
    of = planned(FP32, BF16, INT8)
    told = "fp16 wished for and not to be had (the model has no such variant): "
    assert grant("fp16", of, scene(of, serving=INT8)) == ("tiny:bf16", f"{told}bf16 is next in line")
    assert grant("fp16", of, scene(of)) == ("tiny:bf16", f"{told}bf16, which serves, is next in line")


def test_what_is_nearest_is_the_same_class_before_the_others() -> None:
    assert set(INSTEAD) == set(get_args(Precision))
    assert all({wish, *others} == set(INSTEAD) for wish, others in INSTEAD.items())
    order = {wish: others[0] for wish, others in INSTEAD.items()}
    assert order == {
        "fp32": "bf16",
        "bf16": "fp16",
        "fp16": "bf16",
        "int8": "mixed",
        "mixed": "int8",
        "int4": "mixed",
    }


def test_a_model_of_one_variant_serves_it_whatever_the_wish() -> None:
    of = planned(FP32)
    for wish in INSTEAD:
        assert granted(wish, of, scene(of, serving=FP32)) == "tiny:fp32"


def test_what_this_machine_cannot_run_is_replaced_with_the_reason() -> None:
    of = planned(FP32, replace(BF16, unable="needs bfloat16", costs=None), INT8)
    name, why = grant("bf16", of, scene(of, serving=INT8))
    assert name == "tiny:fp32"
    assert why == "bf16 wished for and not to be had (tiny:bf16 needs bfloat16): fp32 is next in line"


def test_a_limit_of_memory_and_those_that_somebody_set_bind_a_wish() -> None:
    small = planned(FP32, FP16, INT8, limits=budget(mb=300, loss=3))
    assert granted("fp16", small, scene(small, serving=INT8)) == "tiny:fp32"
    assert "(tiny:fp16 needs 400 MB, there are 300 MB (WREN_MEMORY))" in reason("fp16", small)
    quick = planned(FP32, BF16, INT8, limits=budget(latency_ms=100, loss=3))
    assert granted("fp32", quick, scene(quick, serving=INT8)) == "tiny:bf16"


def test_a_default_limit_and_what_nobody_measured_do_not_bind_a_wish() -> None:
    of = planned(FP32, INT8, INT4, limits=budget(loss=1))  # a limit by default
    assert granted("int4", of) == "tiny:int4"
    unknown = planned(FP32, INT8, replace(FP16, costs=None))
    assert granted("fp16", unknown) == "tiny:fp16"


def test_of_variants_that_the_plan_lacks_the_base_one_comes_first() -> None:
    first, base = (replace(one, costs=None) for one in (variant("tiny:a", "fp32"), FP32))
    assert granted("fp32", planned(INT8, first, base)) == "tiny:fp32"


def test_what_failed_is_passed_over() -> None:
    of = planned(*ALL)
    among = replace(scene(of), blocked={"tiny:int8"})
    assert granted("int8", of, among) == "tiny:pruned30-int8"
    among = replace(scene(of), blocked={"tiny:fp16"})
    assert reason("fp16", of, among).startswith("fp16 wished for and not to be had (tiny:fp16 failed): bf16")
    unmeasured = planned(INT8, replace(FP16, costs=None))
    among = replace(scene(unmeasured, serving=INT8), blocked={"tiny:fp16"})
    assert reason("fp16", unmeasured, among).startswith("fp16 wished for and not to be had (tiny:fp16 failed): int8")


def test_a_pin_beats_a_wish_unless_it_failed() -> None:
    of = planned(*ALL)
    among = replace(scene(of, serving=INT8), orders=Orders(pin="tiny:int8"))
    assert grant("fp32", of, among) == ("tiny:int8", "fp32 wished for, but an operator pinned tiny:int8")
    failed = replace(scene(of, serving=INT8), orders=Orders(pin="tiny:fp16"), blocked={"tiny:fp16"})
    assert granted("fp32", of, failed) == "tiny:fp32"


def test_a_wish_beyond_a_bound_gets_the_bound() -> None:
    of = planned(*ALL)
    among = replace(scene(of), orders=Orders(highest="tiny:bf16", lowest="tiny:bf16"))
    assert grant("fp32", of, among) == (
        "tiny:bf16",
        "fp32 wished for, but an operator lets nothing above tiny:bf16 serve",
    )
    assert grant("int8", of, among) == (
        "tiny:bf16",
        "int8 wished for, but an operator lets nothing below tiny:bf16 serve",
    )


def test_what_is_on_no_rung_keeps_to_bounds_by_its_speed_and_its_loss() -> None:
    of = planned(*ALL)
    assert granted("fp16", of, replace(scene(of), orders=Orders(highest="tiny:bf16"))) == "tiny:bf16"
    assert granted("fp16", of, replace(scene(of), orders=Orders(highest="tiny:fp32"))) == "tiny:fp16"
    assert granted("int4", of, replace(scene(of), orders=Orders(lowest="tiny:int8"))) == "tiny:int8"
    unknown = planned(*(replace(one, wer_loss=None, costs=None) if one is INT4 else one for one in ALL))
    assert granted("int4", unknown, replace(scene(unknown), orders=Orders(lowest="tiny:int8"))) == "tiny:int8"


def test_a_bound_that_failed_gives_what_serves() -> None:
    of = planned(*ALL)
    among = replace(scene(of, serving=INT8), orders=Orders(highest="tiny:bf16"), blocked={"tiny:bf16"})
    name, why = grant("fp32", of, among)
    assert name == "tiny:int8"
    assert why.endswith("but tiny:bf16 failed")


def test_under_load_nobody_gets_what_is_slower_than_what_serves() -> None:
    of = planned(*ALL)
    among = replace(scene(of), pressure="load")
    assert grant("fp32", of, among) == (
        "tiny:bf16",
        "fp32 wished for, but under load nothing slower than tiny:bf16 is to be had",
    )
    assert granted("int8", of, among) == "tiny:int8"
    unknown = planned(BF16, replace(FP16, costs=None))
    assert granted("fp16", unknown, replace(scene(unknown), pressure="load")) == "tiny:bf16"


def test_while_memory_is_short_nobody_gets_what_is_larger_than_what_serves() -> None:
    of = planned(*ALL)
    among = replace(scene(of), pressure="memory")
    assert reason("fp16", of, among).endswith("while memory is short nothing larger than tiny:bf16 is to be had")
    assert granted("int4", of, among) == "tiny:int4"
