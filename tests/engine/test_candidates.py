import pytest

from model_store.manifest import Manifest
from service.engine.candidates import Known, candidates
from service.engine.plan import Candidate
from tests.engine.plans import COSTS, evaluated, evaluation

FP32 = evaluated("tiny:fp32", {"libri": 5.0})


def seen(*manifests: Manifest, known: Known | None = None) -> dict[str, Candidate]:
    return {one.name: one for one in candidates(manifests, known or Known())}


def test_the_loss_is_against_the_base_variant_on_the_same_recordings() -> None:
    int8 = seen(FP32, evaluated("tiny:int8", {"libri": 5.25}, parent="fp32"))["tiny:int8"]
    assert int8.wer_loss == pytest.approx(0.25)
    assert (int8.wer, int8.data) == (5.25, "libri")
    assert (int8.reference, int8.base) == ("tiny:fp32", False)


def test_a_base_variant_loses_nothing_even_if_it_was_never_evaluated() -> None:
    base = seen(evaluated("tiny:fp32"))["tiny:fp32"]
    assert (base.wer, base.wer_loss, base.base) == (None, 0.0, True)


@pytest.mark.parametrize("wers", [{}, {"other": 5.0}])
def test_without_recordings_in_common_the_loss_is_unknown(wers: dict[str, float]) -> None:
    int8 = seen(FP32, evaluated("tiny:int8", wers, parent="fp32"))["tiny:int8"]
    assert int8.wer_loss is None
    assert int8.reference == "tiny:fp32"


def test_without_the_base_variant_the_loss_is_unknown() -> None:
    int8 = seen(evaluated("tiny:int8", {"libri": 5.0}, parent="fp32"))["tiny:int8"]
    assert int8.wer_loss is None
    assert "not in the store" in int8.reference


def test_of_several_sets_in_common_the_one_with_the_most_words_counts() -> None:
    both = [evaluation("long", 6.0, words=9000), evaluation("short", 3.0, words=100)]
    worse = [evaluation("long", 6.5, words=9000), evaluation("short", 3.1, words=100)]
    base = FP32.model_copy(update={"evaluations": tuple(both)})
    int8 = evaluated("tiny:int8", parent="fp32").model_copy(update={"evaluations": tuple(worse)})
    assert seen(base, int8)["tiny:int8"].wer_loss == pytest.approx(0.5)


def test_the_latest_evaluation_of_the_same_recordings_counts() -> None:
    twice = (evaluation("libri", 9.0, day=1), evaluation("libri", 5.1, day=2))
    int8 = evaluated("tiny:int8", parent="fp32").model_copy(update={"evaluations": twice[::-1]})
    assert seen(FP32, int8)["tiny:int8"].wer == 5.1


def test_models_are_judged_against_the_best_of_all() -> None:
    found = seen(FP32, evaluated("base:fp32", {"libri": 4.0}), evaluated("base:int8", {"libri": 4.2}, parent="fp32"))
    assert {name: one.wer_loss for name, one in found.items()} == pytest.approx(
        {"tiny:fp32": 1.0, "base:fp32": 0.0, "base:int8": 0.2}
    )
    assert found["tiny:fp32"].reference == "base:fp32"
    assert all(one.comparable for one in found.values())


def test_a_loss_within_a_model_adds_to_that_of_its_base_variant() -> None:
    tiny = evaluated("tiny:fp32", {"libri": 5.0, "mine": 7.0})
    found = seen(tiny, evaluated("tiny:int8", {"mine": 7.5}, parent="fp32"), evaluated("base:fp32", {"libri": 4.0}))
    assert found["tiny:int8"].wer_loss == pytest.approx(1.5)
    assert found["tiny:int8"].reference.endswith("by way of its base variant")


def test_a_model_without_common_recordings_stays_with_itself() -> None:
    found = seen(FP32, evaluated("tiny:int8", {"libri": 5.1}, parent="fp32"), evaluated("moon:fp32", {"mine": 1.0}))
    assert (found["moon:fp32"].wer_loss, found["moon:fp32"].comparable) == (0.0, False)
    assert found["tiny:int8"].comparable


def test_without_any_evaluation_models_are_equals() -> None:
    found = seen(evaluated("tiny:fp32"), evaluated("base:fp32"))
    assert all(one.comparable and one.wer_loss == 0 for one in found.values())


def test_what_cannot_run_here_is_no_reference() -> None:
    best = evaluated("huge:fp32", {"libri": 2.0})
    found = seen(FP32, best, known=Known(unable={"huge:fp32": "needs a GPU"}))
    assert (found["tiny:fp32"].wer_loss, found["huge:fp32"].unable) == (0.0, "needs a GPU")


def test_costs_are_those_of_the_variant() -> None:
    found = seen(FP32, evaluated("tiny:int8", parent="fp32"), known=Known(costs={"tiny:int8": COSTS}))
    assert (found["tiny:int8"].costs, found["tiny:fp32"].costs) == (COSTS, None)


def test_nothing_is_made_of_nothing() -> None:
    assert candidates((), Known()) == ()
