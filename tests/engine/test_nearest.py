from collections.abc import Sequence
from dataclasses import replace

import pytest

from service.engine.nearest import ways
from service.engine.plan import Budget, Candidate, plan
from tests.engine.plans import BASE, COSTS, budget, candidate, drawn


def test_each_limit_by_itself_is_told_with_what_it_lets_in() -> None:
    found = ways(
        plan(
            [candidate("tiny:a", mb=214), candidate("tiny:b", mb=300), candidate("tiny:c", mb=90, loss=1.3)],
            budget(mb=100),
        )
    )
    assert [str(way) for way in found] == ["214 MB of memory for tiny:a", "1.3 points of WER lost for tiny:c"]


def test_more_memory_of_a_gpu_is_a_way() -> None:
    one = replace(BASE, costs=replace(COSTS, gpu_bytes=1_000_000_001))
    (way,) = ways(plan([one], budget(gpu_mb=900)))
    assert str(way) == "1001 MB of GPU memory for tiny:fp32"
    assert plan([one], way.within(budget(gpu_mb=900))).chosen


def test_two_limits_are_moved_where_one_is_not_enough() -> None:
    far = candidate("tiny:far", mb=900, latency_ms=90)
    near = candidate("tiny:near", mb=120, latency_ms=60)
    (way,) = ways(plan([far, near], budget(mb=100, latency_ms=50)))
    assert str(way) == "120 MB of memory with 60 ms for tiny:near"


def test_what_is_told_is_enough_though_it_is_rounded() -> None:
    one = replace(BASE, costs=replace(COSTS, memory_bytes=213_400_001))
    (way,) = ways(plan([one], budget(mb=100)))
    assert str(way) == "214 MB of memory for tiny:fp32"
    assert plan([one], budget(mb=214)).chosen


def test_there_is_no_way_to_what_was_never_measured() -> None:
    assert ways(plan([replace(BASE, costs=None), candidate("tiny:a", loss=None)], budget(mb=100))) == ()


def test_there_is_no_need_of_a_way_where_something_fits() -> None:
    assert ways(plan([BASE, candidate("tiny:a", mb=900)], budget(mb=500))) == ()


@pytest.mark.parametrize("seed", range(20))
def test_a_way_leads_somewhere_and_a_shorter_one_does_not(seed: int) -> None:
    for candidates, limits in drawn(seed, mb=(20, 200)):
        for way in ways(plan(candidates, limits)):
            assert way.candidate in chosen(candidates, way.within(limits))
            for index, (name, amount) in enumerate(way.limits):
                less = (*way.limits[:index], (name, amount - 0.001), *way.limits[index + 1 :])
                shorter = chosen(candidates, replace(way, limits=less).within(limits))
                assert way.candidate not in shorter
                assert not shorter or len(way.limits) > 1


@pytest.mark.parametrize("seed", range(20))
def test_a_way_is_found_wherever_a_larger_budget_would_help(seed: int) -> None:
    for candidates, limits in drawn(seed, mb=(20, 200), losses=(0.0, 1.0)):
        helped = chosen(candidates, budget(loss=99, mb=10_000, gpu_mb=10_000, latency_ms=10_000))
        tried = plan(candidates, limits)
        assert bool(tried.chosen or ways(tried)) == bool(helped)


def chosen(candidates: Sequence[Candidate], limits: Budget) -> list[Candidate]:
    return [one.candidate for one in plan(candidates, limits).chosen]
