"""So many weights become zero and no more; which, the criterion says; refitted, the rest makes up for them."""

import numpy as np
import pytest

from model_store.compress.context import Context
from model_store.compress.draft import Draft, matrices
from model_store.compress.fit import fit_without
from model_store.compress.moments import Moments
from model_store.compress.prune import Criterion, Prune, Scope, doomed, lowest, prune
from model_store.compress.quantise import Quantise
from model_store.compress.settings import EVERY
from model_store.compress.steps import carry_out
from model_store.convert.graph import Floats
from model_store.errors import CompressionError
from tests.compress.drafts import calibration, small_draft

SEEN = Context(calibration(real=False))


def settings(
    share: float = 0.3, criterion: Criterion = "magnitude", scope: Scope = "row", layers: tuple[str, ...] = EVERY
) -> Prune:
    return Prune(step="prune", share=share, criterion=criterion, scope=scope, layers=layers)


def linear(draft: Draft) -> dict[str, Floats]:
    return {name: draft.model.weights[name] for name in matrices(draft.model, EVERY, frozenset({"linear"}))}


def zeros(draft: Draft) -> int:
    return sum(int((weight == 0).sum()) for weight in linear(draft).values())


@pytest.mark.parametrize("share", [0.001, 0.3, 1 / 3, 0.999])
@pytest.mark.parametrize("scope", ["row", "matrix", "model"])
def test_the_share_is_exact(share: float, scope: Scope) -> None:
    draft = prune(small_draft(), settings(share, scope=scope), Context())
    there = zeros(small_draft())
    assert zeros(draft) == max(there, round(share * sum(weight.size for weight in linear(draft).values())))


def test_rows_lose_alike_and_a_model_where_it_matters_least() -> None:
    scores = {"a": np.arange(8, dtype=np.float32).reshape(2, 4), "b": np.full((2, 4), 9, np.float32)}
    by_row, by_matrix, by_model = (doomed(scores, 0.5, scope) for scope in ("row", "matrix", "model"))
    assert {name: gone.sum(axis=1).tolist() for name, gone in by_row.items()} == {"a": [2, 2], "b": [2, 2]}
    assert {name: gone.sum(axis=1).tolist() for name, gone in by_matrix.items()} == {"a": [4, 0], "b": [4, 0]}
    assert {name: int(gone.sum()) for name, gone in by_model.items()} == {"a": 8, "b": 0}


def test_of_equals_the_first_go() -> None:
    assert lowest(np.array([2, 1, 1, 1, 0], np.float32), 3).tolist() == [False, True, True, False, True]
    assert not lowest(np.zeros(3, np.float32), 0).any()


def test_magnitude_leaves_the_largest() -> None:
    draft = prune(small_draft(), settings(0.5, scope="matrix"), Context())
    for name, weight in linear(draft).items():
        whole = np.abs(small_draft().model.weights[name])
        assert whole[weight == 0].max() <= whole[weight != 0].min()
        np.testing.assert_array_equal(weight[weight != 0], small_draft().model.weights[name][weight != 0])


def test_activation_counts_what_a_weight_is_multiplied_with() -> None:
    name = "decoder.layers.1.fc2.weight"
    draft = prune(small_draft(), settings(0.5, "activation", layers=(name,)), SEEN)
    inputs = calibration(real=False).inputs(small_draft())[name].mean_square
    scores, gone = np.abs(small_draft().model.weights[name]) * np.sqrt(inputs), draft.model.weights[name] == 0
    assert all(row[out].max() <= row[~out].min() for row, out in zip(scores, gone, strict=True))
    assert not np.array_equal(gone, prune(small_draft(), settings(0.5, layers=(name,)), SEEN).model.weights[name] == 0)


def test_only_what_is_named_is_touched() -> None:
    draft = prune(small_draft(), settings(layers=("encoder.*",)), Context())
    changed = {name for name, weight in draft.model.weights.items() if weight is not small_draft().model.weights[name]}
    assert changed == {name for name in linear(draft) if name.startswith("encoder.")}


def test_the_embedding_is_pruned_if_it_is_asked_for() -> None:
    draft = prune(small_draft(), settings(layers=("*embed*",)).model_copy(update={"embedding": True}), Context())
    assert np.mean(draft.model.weights["decoder.embed_tokens.weight"] == 0) == pytest.approx(0.3, abs=1e-5)


def test_pruning_twice_is_pruning_once() -> None:
    once = prune(small_draft(), settings(), Context())
    again = prune(once, settings(), Context())
    assert all(np.array_equal(again.model.weights[name], weight) for name, weight in once.model.weights.items())


@pytest.mark.parametrize("criterion", ["activation", "gradient"])
def test_recordings_are_asked_for_where_they_are_needed(criterion: Criterion) -> None:
    with pytest.raises(CompressionError, match="--calibration"):
        prune(small_draft(), settings(criterion=criterion), Context())
    with pytest.raises(CompressionError, match="--calibration"):
        prune(small_draft(), settings().model_copy(update={"refit": "mean"}), Context())


def test_patterns_that_match_nothing_are_an_error() -> None:
    with pytest.raises(CompressionError, match=r"no matrix matches encoder\.layer\.0"):
        prune(small_draft(), settings(layers=("encoder.layer.0",)), Context())


def test_refitting_is_least_squares() -> None:
    """One input of each row goes: then the sweep's answer is the exact one."""
    random = np.random.default_rng(1)
    mixed = random.normal(1, 1, (400, 6)) @ (np.eye(6) + random.normal(0, 0.3, (6, 6)))
    weight, gone = random.normal(0, 1, (3, 6)).astype(np.float32), np.zeros((3, 6), np.bool_)
    gone[:, 0] = True
    seen = Moments(mixed.mean(axis=0), mixed.T @ mixed / len(mixed))
    losses = []
    for refit in ("none", "mean", "squares"):
        rest, bias = fit_without(weight, gone, seen, refit=refit, has_bias=True)
        assert (rest[gone] == 0).all()
        losses.append(float(np.square(mixed @ (rest - weight).T + bias).mean()))
    exact = np.linalg.lstsq(np.column_stack([mixed[:, 1:], np.ones(400)]), mixed @ weight.T, rcond=None)[0]
    best = float(np.square(np.column_stack([mixed[:, 1:], np.ones(400)]) @ exact - mixed @ weight.T).mean())
    assert losses[0] > losses[1] > losses[2] >= best
    assert losses[2] == pytest.approx(best, rel=0.05)


@pytest.mark.parametrize("refit", ["mean", "squares"])
def test_refitted_weights_keep_their_zeros_and_only_they_change(refit: str) -> None:
    refitted = prune(small_draft(), settings().model_copy(update={"refit": refit}), SEEN)
    plain = prune(small_draft(), settings(), SEEN)
    assert all(np.array_equal(weight == 0, linear(plain)[name] == 0) for name, weight in linear(refitted).items())


def test_steps_combine_in_either_order() -> None:
    small, first = Quantise(step="quantise", form="int8"), settings()
    one = carry_out(carry_out(small_draft(), first, Context()), small, Context())
    other = carry_out(carry_out(small_draft(), small, Context()), first, Context())
    assert one.form.formats == other.form.formats
    assert all(np.array_equal(one.model.weights[name], weight) for name, weight in other.model.weights.items())
