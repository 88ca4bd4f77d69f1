"""Layers that are missed least are lowered first, down to a size or up to a loss."""

from collections.abc import Sequence

import pytest

from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.hierarchical import Group, Hierarchical, enough, grouped, hierarchical, kept_bytes, most
from model_store.compress.moments import Moments
from model_store.compress.recipe import shipped
from model_store.compress.run import compressed
from model_store.convert.blocks import Blocks
from model_store.convert.formats import Inputs
from model_store.convert.graph import Floats
from model_store.convert.parameters import Form
from model_store.errors import CompressionError
from tests.compress.drafts import calibration, small_draft

LOW = Blocks(4, "int8")


class Told:
    """Recordings by which lowering a layer costs what the test says; each lowered matrix is 0.1 points of WER."""

    def __init__(self, costs: dict[str, float]) -> None:
        self.costs, self.asked = costs, 0

    def inputs(self, draft: Draft) -> dict[str, Inputs]:
        return {}

    def moments(self, draft: Draft, names: Sequence[str]) -> dict[str, Moments]:
        return {}

    def gradients(self, draft: Draft) -> dict[str, Floats]:
        return {}

    def divergence(self, draft: Draft, forms: Sequence[Form]) -> list[float]:
        return [0.5 + sum(self._cost(name) for name, one in form.formats.items() if one == LOW) for form in forms]

    def wer(self, draft: Draft) -> float:
        self.asked += 1
        return 5 + 0.1 * sum(form == LOW for form in draft.form.formats.values())

    def _cost(self, name: str) -> float:
        return next((cost for part, cost in self.costs.items() if part in name), 1.0)


def lowered(draft: Draft) -> set[str]:
    return {name for name, form in draft.form.formats.items() if form == LOW}


def test_the_least_missed_goes_first() -> None:
    recordings = Told({"encoder.layers.1.fc1": 1e-6, "decoder.layers.0.fc2": 2e-6})
    full = kept_bytes(small_draft().model, {})
    one = full - 128 * 96 * (32 - 4.5) / 8 * 1.5  # one of them is not enough
    settings = Hierarchical(step="hierarchical", low="int4", size=one / full)
    found = hierarchical(small_draft(), settings, Context(recordings))
    assert lowered(found) == {"encoder.layers.1.fc1.weight", "decoder.layers.0.fc2.weight"}


def test_a_loss_is_kept_to_with_few_measurements() -> None:
    recordings = Told({"fc1": 1e-6})
    settings = Hierarchical(step="hierarchical", low="int4", wer_growth=0.25)
    found = hierarchical(small_draft(), settings, Context(recordings))
    assert len(lowered(found)) == 2
    assert recordings.asked <= 6


def test_what_is_as_low_already_is_left_alone() -> None:
    recordings = Told({})
    settings = Hierarchical(step="hierarchical", low="fp16", wer_growth=9)
    draft = compressed(small_draft(), shipped("int4"))
    assert hierarchical(draft, settings, Context(recordings)).form.formats == draft.form.formats


def test_a_size_that_cannot_be_reached_is_told() -> None:
    settings = Hierarchical(step="hierarchical", low="int4", size=0.01)
    with pytest.raises(CompressionError, match=r"can go down to \d+\.\d MB"):
        hierarchical(small_draft(), settings, Context(Told({})))


def test_recordings_are_asked_for() -> None:
    settings = Hierarchical(step="hierarchical", low="int4", size=0.3)
    with pytest.raises(CompressionError, match="--calibration"):
        hierarchical(small_draft(), settings, Context())


@pytest.mark.parametrize("targets", [{}, {"size": 0.2, "wer_growth": 1.0}])
def test_one_target_is_wanted(targets: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="either"):
        Hierarchical.model_validate({"step": "hierarchical", "low": "int4", **targets})


def test_real_measurements_reach_the_size() -> None:
    draft = compressed(small_draft(), shipped("int8"))
    settings = Hierarchical(step="hierarchical", low="int4", size=0.32)
    found = hierarchical(draft, settings, Context(calibration(real=False)))
    full = kept_bytes(found.model, {})
    assert 0.28 < kept_bytes(found.model, found.form.formats) / full <= 0.32
    assert lowered(found)
    assert found.form.inputs


def test_an_attention_is_one_group() -> None:
    parts = [f"decoder.layers.0.self_attn.{kind}_proj.weight" for kind in ("q", "k", "v", "out")]
    other = ["decoder.layers.0.fc1.weight", "decoder.layers.0.fc2.weight", "decoder.embed_tokens.weight"]
    assert grouped([*parts, *other]) == [tuple(parts), *((one,) for one in other)]


def test_as_many_groups_as_it_takes() -> None:
    groups = [Group(("a",), 10, 1), Group(("b",), 20, 2), Group(("c",), 30, 3)]
    taken = [[name for one in enough(groups, 100, allowed) for name in one.names] for allowed in (99, 90, 89, 70, 40)]
    assert taken == [["a"], ["a"], ["b"], ["a", "b"], ["a", "b", "c"]]
    assert enough(groups, 100, 100) == []
    with pytest.raises(CompressionError):
        enough(groups, 100, 39)


def test_what_is_missed_most_is_left_out_again_where_the_last_was_large() -> None:
    groups = [Group(("a",), 10, 1), Group(("b",), 20, 4), Group(("table",), 500, 200)]
    assert [one.names for one in enough(groups, 1000, 480)] == [("b",), ("table",)]
    assert [one.names for one in enough(groups, 1000, 490)] == [("a",), ("table",)]
    assert [one.names for one in enough(groups, 1000, 500)] == [("table",)]


@pytest.mark.parametrize("limit", range(8))
def test_the_most_that_is_good_is_found(limit: int) -> None:
    asked: list[int] = []

    def good(count: int) -> bool:
        asked.append(count)
        return count <= limit

    assert most(7, good) == limit
    assert len(asked) <= 3
