from datetime import timedelta

import pytest

from model_store.comparison.errors import NoSuchData, NothingEvaluated
from model_store.comparison.rows import Comparison, Here, Row, compare
from tests.comparison.variants import DAY, digest, evaluation, variant


def rows(comparison: Comparison, model: str | None = "tiny") -> dict[str, Row]:
    (group,) = (group for group in comparison.groups if group.model == model)
    return {row.manifest.name: row for row in group.rows}


def test_share_and_growth_are_against_base_and_parent() -> None:
    found = rows(
        compare(
            [
                variant("tiny:fp32", 200, evaluation(5.0)),
                variant("tiny:pruned", 100, evaluation(6.5)),
                variant("tiny:pruned-int8", 25, evaluation(6.75), parent="pruned"),
            ]
        )
    )
    assert (found["tiny:fp32"].share, found["tiny:fp32"].growth) == (1.0, None)
    assert (found["tiny:pruned"].share, found["tiny:pruned"].growth) == (0.5, 1.5)
    assert (found["tiny:pruned-int8"].share, found["tiny:pruned-int8"].growth) == (0.125, 0.25)


@pytest.mark.parametrize("parent", ["gone", "int8"])
def test_without_its_base_a_variant_has_no_share(parent: str) -> None:
    found = rows(compare([variant("tiny:int8", 50, evaluation(), parent=parent)]))["tiny:int8"]
    assert found.share is None
    assert found.growth in (None, 0.0)


def test_losing_variant_stays_and_says_to_which_it_lost() -> None:
    found = rows(
        compare(
            [
                variant("tiny:fp32", 200, evaluation(5.0, 10)),
                variant("tiny:int8", 50, evaluation(5.0, 20)),
                variant("tiny:int4", 25, evaluation(7.0, 15)),
            ]
        )
    )
    assert [row.standing for row in found.values()] == ["dominated by int8", "on the front", "on the front"]
    assert [row.on_front for row in found.values()] == [False, True, True]


def test_models_are_compared_each_by_itself_and_all_together() -> None:
    comparison = compare(
        [
            variant("base:fp32", 300, evaluation(4.0, 10)),
            variant("tiny:fp32", 150, evaluation(5.0, 20)),
            variant("tiny:int8", 40, evaluation(4.0, 40)),
        ]
    )
    assert [group.model for group in comparison.groups] == ["base", "tiny", None]
    assert rows(comparison, "base")["base:fp32"].standing == "on the front"
    assert rows(comparison, None)["base:fp32"].standing == "dominated by tiny:int8"


def test_recordings_that_most_variants_heard_are_chosen_unless_others_are_named() -> None:
    few = evaluation(9.0, data="few", date=DAY + timedelta(days=9))
    manifests = [
        variant("tiny:fp32", 200, evaluation(5.0), few),
        variant("tiny:fp16", 100, evaluation(5.0)),
        variant("tiny:int8", 50, evaluation(6.0)),
        variant("tiny:int4", 25, few),
    ]
    found = compare(manifests)
    assert (found.example.data, rows(found)["tiny:fp32"].growth) == ("libri", None)
    assert rows(found)["tiny:int4"].standing == "evaluated on other recordings"
    for asked in ("few", digest("few")[:8], digest("few").upper()):
        assert rows(compare(manifests, data=asked))["tiny:int8"].evaluation is None
        assert compare(manifests, data=asked).example.wer == 9.0


def test_recordings_that_nobody_heard_are_refused_with_those_there_are() -> None:
    with pytest.raises(NoSuchData, match=rf"on 'none'. There are evaluations on: libri \({digest('libri')[:16]}\)"):
        compare([variant("tiny:fp32", 200, evaluation())], data="none")


def test_times_of_another_device_are_shown_and_not_compared() -> None:
    found = rows(
        compare(
            [
                variant("tiny:fp32", 200, evaluation(5.0)),
                variant("tiny:fp16", 100, evaluation(5.0)),
                variant("tiny:int8", 50, evaluation(4.0, 400, device="A faster one", date=DAY + timedelta(days=1))),
            ]
        )
    )
    int8 = found["tiny:int8"]
    assert int8.evaluation is not None
    assert (int8.compared, int8.standing, int8.growth) == (False, "measured elsewhere, not compared", -1.0)
    assert found["tiny:fp16"].on_front


def test_of_several_devices_the_one_that_most_variants_share_is_taken() -> None:
    elsewhere = evaluation(5.0, 99, threads=8, date=DAY + timedelta(days=1))
    found = rows(compare([variant("tiny:fp32", 200, evaluation(), elsewhere), variant("tiny:int8", 50, evaluation())]))
    assert [row.evaluation.threads for row in found.values() if row.evaluation] == [2, 2]


def test_without_any_evaluation_the_advice_is_to_evaluate() -> None:
    with pytest.raises(NothingEvaluated, match="wren evaluate base tiny --data DIR"):
        compare([variant("base:fp32"), variant("tiny:fp32"), variant("tiny:int8")])
    with pytest.raises(NothingEvaluated, match="wren models pull"):
        compare([])


def test_figures_of_this_machine_come_along() -> None:
    here = Here(memory_bytes=100, latency_ms=50.0, speed=60.0)
    found = rows(compare([variant("tiny:fp32", 1, evaluation()), variant("tiny:int8")], here={"tiny:int8": here}))
    assert [row.here for row in found.values()] == [None, here]
