import math
import random
from dataclasses import replace
from itertools import combinations

import pytest

from service.engine.plan import (
    TIE,
    WER_TIE,
    Budget,
    Candidate,
    Costs,
    Plan,
    Planned,
    Prefer,
    plan,
)
from tests.engine.plans import BASE, COSTS, MB, budget, candidate, drawn

SEEDS = range(20)


def names(found: Plan) -> list[str]:
    return [one.name for one in found.chosen]


def reasons(found: Plan) -> dict[str, list[str]]:
    return {one.name: [fault.reason for fault in one.faults] for one in found.excluded}


def test_the_lowest_latency_comes_first() -> None:
    found = plan(
        [BASE, candidate("tiny:int8", loss=0.3, latency_ms=60), candidate("tiny:fp16", latency_ms=80)], budget()
    )
    assert names(found) == ["tiny:int8", "tiny:fp16", "tiny:fp32"]
    assert found.chosen[0].reason.startswith("the lowest latency of 3; 60 ms, ")
    assert "+0.30 points of WER against tiny:fp32" in found.chosen[0].reason
    assert found.chosen[2].reason.startswith("the only one left; 100 ms, ")


def test_latencies_that_are_nearly_equal_leave_it_to_the_wer_and_then_the_memory() -> None:
    a, b, c = (
        candidate(f"tiny:{name}", latency_ms=ms, loss=loss, mb=mb)
        for name, ms, loss, mb in (("a", 100, 0.5, 100), ("b", 104, 0.1, 300), ("c", 104, 0.1, 200))
    )
    found = plan([a, b, c], budget())
    assert names(found) == ["tiny:c", "tiny:b", "tiny:a"]
    assert "give or take 5%, and of 3 so near the lowest WER, then the least memory" in found.chosen[0].reason


def test_accuracy_takes_the_lowest_wer_and_of_equals_the_quickest() -> None:
    found = plan(
        [BASE, candidate("tiny:a", loss=0.08, latency_ms=50), candidate("tiny:b", loss=0.5, latency_ms=10)],
        budget(prefer="accuracy"),
    )
    assert names(found) == ["tiny:a", "tiny:fp32", "tiny:b"]


def test_speed_takes_the_most_audio_a_second() -> None:
    found = plan([BASE, candidate("tiny:a", latency_ms=300, speed=400)], budget(prefer="speed"))
    assert names(found) == ["tiny:a", "tiny:fp32"]


def test_what_cannot_be_compared_comes_after_what_can() -> None:
    hoped = replace(candidate("moon:fp32", latency_ms=1), comparable=False)
    known, other = plan([hoped, BASE], budget()).chosen
    assert [known.name, other.name] == ["tiny:fp32", "moon:fp32"]
    assert known.reason.startswith("the only one left that can be compared; 100 ms")
    assert other.reason.endswith("its WER cannot be compared with that of the other models")


def test_too_little_memory_is_told_in_figures() -> None:
    found = plan([candidate("tiny:a", mb=412)], budget(mb=256))
    assert reasons(found) == {"tiny:a": ["needs 412 MB, there are 256 MB (WREN_MEMORY)"]}


def test_every_limit_that_is_passed_is_told() -> None:
    found = plan([candidate("tiny:a", mb=412, latency_ms=301, loss=2)], budget(mb=256, latency_ms=300))
    assert reasons(found)["tiny:a"] == [
        "loses 2.00 points of WER against tiny:fp32, more than 1 (the default)",
        "needs 412 MB, there are 256 MB (WREN_MEMORY)",
        "takes 301 ms for 6 s of speech with 2 cores, 300 ms are allowed (WREN_LATENCY)",
    ]


def test_what_was_never_measured_is_ruled_out_with_the_command_that_measures() -> None:
    found = plan([candidate("tiny:a", loss=None), replace(BASE, costs=None)], budget())
    assert "wren evaluate tiny:a --data DIR" in reasons(found)["tiny:a"][0]
    assert reasons(found)["tiny:fp32"] == ["not profiled on this machine with 2 cores: wren profile"]


def test_an_unknown_wer_is_accepted_with_any_loss_and_comes_last_by_accuracy() -> None:
    found = plan(
        [candidate("tiny:a", loss=None), candidate("tiny:b", loss=9)], budget(loss=math.inf, prefer="accuracy")
    )
    assert names(found) == ["tiny:b", "tiny:a"]
    assert "loss of WER unknown" in found.chosen[1].reason


def test_what_this_machine_cannot_run_has_no_other_reason() -> None:
    found = plan([replace(candidate("tiny:a", loss=None), unable="needs OpenVINO", costs=None)], budget())
    assert reasons(found) == {"tiny:a": ["needs OpenVINO"]}


@pytest.mark.parametrize(
    ("mb", "executors", "rows"), [(math.inf, 2, 4), (270, 2, 4), (269, 1, 4), (239, 1, 4), (210, 1, 2), (200, 1, 1)]
)
def test_rows_and_executors_are_given_up_before_the_variant(mb: float, executors: int, rows: int) -> None:
    (chosen,) = plan([BASE], budget(mb=mb)).chosen
    assert (chosen.executors, chosen.rows) == (executors, rows)
    assert ("the memory has room for" in chosen.reason) == ((executors, rows) != (2, 4))


def test_fewer_rows_are_taken_to_be_slower() -> None:
    few, all_ = (plan([BASE], budget(mb=mb)).chosen[0] for mb in (200, 1000))
    assert few.speed == pytest.approx(6000 / COSTS.latency_ms)
    assert all_.speed == COSTS.speed
    assert (few.memory_bytes, all_.memory_bytes) == (200 * MB, 235 * MB)


ON_GPU = replace(BASE, costs=replace(COSTS, gpu_bytes=1000 * MB))
"""Its rows are in the GPU's memory, and each of its two executors has a GPU."""


@pytest.mark.parametrize(("gpu_mb", "rows"), [(math.inf, 4), (1030, 4), (1029, 3), (1010, 2), (1000, 1)])
def test_on_a_gpu_rows_are_given_up_for_its_memory_alone(gpu_mb: float, rows: int) -> None:
    (chosen,) = plan([ON_GPU], budget(mb=200, gpu_mb=gpu_mb)).chosen
    assert (chosen.executors, chosen.rows) == (2, rows)
    assert (chosen.memory_bytes, chosen.gpu_bytes) == (200 * MB, (1000 + 5 * (rows - 1)) * MB)
    assert ("the GPU's memory has room for" in chosen.reason) == (rows != 4)
    assert f"200 MB and {1000 + 5 * (rows - 1)} MB of the GPU's" in chosen.reason


def test_what_a_gpu_has_no_room_for_is_ruled_out_with_both_figures() -> None:
    assert reasons(plan([ON_GPU], budget(gpu_mb=900))) == {
        "tiny:fp32": ["needs 1000 MB of GPU memory, there are 900 MB (WREN_GPU_MEMORY)"]
    }
    none = "needs 1000 MB of GPU memory, there are 0 MB (no NVIDIA driver is installed)"
    assert reasons(plan([ON_GPU], budget())) == {"tiny:fp32": [none]}


def test_nothing_to_choose_from_is_an_empty_plan() -> None:
    assert plan([], budget()) == Plan(budget(), (), ())


@pytest.mark.parametrize("seed", SEEDS)
def test_every_candidate_appears_once_in_whatever_order_they_come(seed: int) -> None:
    for candidates, limits in drawn(seed):
        found = plan(candidates, limits)
        assert sorted([*names(found), *reasons(found)]) == sorted(one.name for one in candidates)
        assert all(reasons(found).values())
        assert plan(random.Random(seed).sample(candidates, len(candidates)), limits) == found


@pytest.mark.parametrize("seed", SEEDS)
def test_all_that_is_chosen_fits_and_each_exclusion_is_true(seed: int) -> None:
    for candidates, limits in drawn(seed):
        found = plan(candidates, limits)
        for one in found.chosen:
            assert one.memory_bytes <= limits.memory.amount
            assert one.gpu_bytes <= limits.gpu_memory.amount
            assert 1 <= one.rows <= one.costs.rows
            assert 1 <= one.executors <= one.costs.executors
            assert fits(one.candidate, limits)
        for other in found.excluded:
            assert not fits(other.candidate, limits)
            assert all(passed(other.candidate, limits)[fault.obstacle] for fault in other.faults)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_that_fits_is_better_than_what_stands_before_it(seed: int) -> None:
    for candidates, limits in drawn(seed):
        for one, later in combinations(plan(candidates, limits).chosen, 2):
            assert not better(later, one, prefer=limits.prefer)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_larger_budget_chooses_nothing_worse(seed: int) -> None:
    for candidates, limits in drawn(seed):
        small, large = plan(candidates, limits), plan(candidates, larger(limits))
        assert set(names(small)) <= set(names(large))
        if small.chosen:
            assert not better(small.chosen[0], large.chosen[0], prefer=limits.prefer)


def larger(limits: Budget) -> Budget:
    return replace(
        limits,
        memory=replace(limits.memory, amount=limits.memory.amount * 1.5),
        gpu_memory=replace(limits.gpu_memory, amount=limits.gpu_memory.amount * 1.5),
        latency=replace(limits.latency, amount=limits.latency.amount * 1.5),
        wer_loss=replace(limits.wer_loss, amount=limits.wer_loss.amount + 0.7),
    )


def passed(one: Candidate, limits: Budget) -> dict[str, bool]:
    """What stands against a candidate, worked out anew."""
    costs, any_loss = one.costs, math.isinf(limits.wer_loss.amount)
    return {
        "unable": one.unable is not None,
        "unprofiled": costs is None,
        "unevaluated": one.wer_loss is None and not any_loss,
        "wer_loss": one.wer_loss is not None and one.wer_loss > limits.wer_loss.amount,
        "memory": isinstance(costs, Costs) and costs.memory_bytes > limits.memory.amount,
        "gpu_memory": isinstance(costs, Costs) and costs.gpu_bytes > limits.gpu_memory.amount,
        "latency": isinstance(costs, Costs) and costs.latency_ms > limits.latency.amount,
    }


def fits(one: Candidate, limits: Budget) -> bool:
    return not any(passed(one, limits).values())


def better(one: Planned, than: Planned, *, prefer: Prefer) -> bool:
    """By more than what counts as equal."""
    if one.candidate.comparable != than.candidate.comparable:
        return one.candidate.comparable
    if prefer == "speed":
        return one.speed > than.speed * (1 + TIE) + 1e-9
    if prefer == "balanced":
        return one.costs.latency_ms * (1 + TIE) + 1e-9 < than.costs.latency_ms
    losses = [math.inf if loss is None else loss for loss in (one.candidate.wer_loss, than.candidate.wer_loss)]
    return losses[0] + WER_TIE + 1e-9 < losses[1]
