"""Distillation from the parent, in small: what is kept, what is trained, what is told."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.prune import Prune, prune
from model_store.compress.quantise import FORMS
from model_store.convert.blocks import Blocks, quantise_blocks
from model_store.convert.formats import quantise_rows
from model_store.errors import CompressionError
from model_store.train import cuts
from model_store.train.distil import Distil, distil
from model_store.train.rounding import rounded
from model_store.train.settings import Examples, Losses, Optimisation
from model_store.train.studio import Told
from tests.compress.drafts import calibration, small_draft, tiny_draft
from tests.train.test_adapt import differing, studio

BRIEF = Optimisation(steps=2, batch_s=6, checkpoint_every=1, peak=1e-4, warm_up=0)
SETTINGS = Distil(step="distil", examples=Examples(count=6, longest_s=3, min_confidence=-9.0), optimisation=BRIEF)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of these tests share what the teacher said."""
    return tmp_path_factory.mktemp("studio")


def run(draft: Draft, settings: Distil, work: Path, watch: list[Told] | None = None) -> Draft:
    return distil(draft, settings, Context(studio=studio(work, watch), seed=5))


def pruned() -> Draft:
    settings = Prune(step="prune", share=0.3, criterion="magnitude", scope="matrix", refit="none")
    return prune(tiny_draft(), settings, Context())


def test_what_was_pruned_stays_zero_and_the_rest_is_trained(work: Path) -> None:
    before = pruned()
    after = run(before, SETTINGS, work)
    name = "encoder.layers.0.fc1.weight"
    zero = before.model.weights[name] == 0
    assert 0.25 < zero.mean() < 0.35
    assert not after.model.weights[name][zero].any()
    assert name in differing(before, after)
    assert not any("embed" in name for name in differing(before, after))


def test_patterns_say_what_is_trained(work: Path) -> None:
    after = run(pruned(), SETTINGS.model_copy(update={"layers": ("decoder.layers.3.*",)}), work)
    changed = differing(pruned(), after)
    assert changed
    assert all(name.startswith("decoder.layers.3.") for name in changed)
    with pytest.raises(CompressionError, match="not frozen"):
        run(pruned(), SETTINGS.model_copy(update={"layers": ("nothing.*",)}), work)


def test_rounding_that_is_going_to_be_changes_what_is_learnt(work: Path) -> None:
    formed = tiny_draft().formed(["encoder.layers.0.fc1.weight"], FORMS["int8"])
    aware = run(formed, SETTINGS, work)
    blind = run(formed, SETTINGS.model_copy(update={"aware": False}), work)
    assert differing(aware, blind)
    assert aware.form.formats == formed.form.formats


@pytest.mark.parametrize(
    "losses",
    [
        Losses(hidden=1.0, divergence=0, closeness=0),
        Losses(attention=1.0, divergence=0, closeness=0),
        Losses(labels=1.0, smoothing=0.1, divergence=0, closeness=0),
        Losses(temperature=2.0),
    ],
)
def test_every_loss_falls(work: Path, losses: Losses) -> None:
    told: list[Told] = []
    brief = BRIEF.model_copy(update={"steps": 5, "batch_s": 200.0, "peak": 3e-4})
    run(pruned(), SETTINGS.model_copy(update={"losses": losses, "optimisation": brief}), work, told)
    assert told[-1].loss < 0.95 * told[0].loss


def test_the_teacher_is_its_own_best_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of speech: where there is none, the end is wanted, and not what the teacher says."""
    monkeypatch.setattr(cuts, "SOUNDLESS", 0.0)
    settings = SETTINGS.model_copy(update={"losses": Losses(hidden=1.0, attention=1.0)})
    told: list[Told] = []
    run(tiny_draft(), settings, tmp_path, told)
    worse: list[Told] = []
    run(pruned(), settings, tmp_path, worse)
    assert told[0].loss < 0.5 * worse[0].loss


def test_held_out_wer_wants_recordings(work: Path) -> None:
    measured = BRIEF.model_copy(update={"validate_every": 1})
    settings = SETTINGS.model_copy(update={"optimisation": measured})
    with pytest.raises(CompressionError, match="--calibration DIR"):
        run(pruned(), settings, work)


def test_held_out_wer_is_that_of_the_draft_as_it_stands(work: Path) -> None:
    seen: list[Draft] = []

    def wer(draft: Draft) -> float:
        seen.append(draft)
        return 5.0 + len(seen)

    recordings = calibration(real=True)
    given = type(recordings)(recordings.find, wer, 1)
    settings = SETTINGS.model_copy(update={"optimisation": BRIEF.model_copy(update={"validate_every": 1})})
    told: list[Told] = []
    after = distil(pruned(), settings, Context(recordings=given, studio=studio(work, told), seed=5))
    assert [one.held_out for one in told] == [6.0, 7.0]
    assert not differing(after, seen[0])
    assert differing(after, seen[1])


def test_only_whisper_is_trained(work: Path) -> None:
    with pytest.raises(CompressionError, match="wren train --training DIR"):
        distil(small_draft(), SETTINGS, Context())


def test_rounded_weights_are_those_that_a_form_keeps() -> None:
    weight = np.random.default_rng(1).normal(0, 0.1, (12, 64)).astype(np.float32)
    given = torch.from_numpy(weight)
    integers, scale = quantise_rows(weight)
    assert torch.allclose(rounded(given, FORMS["int8"]), torch.from_numpy(integers * scale[:, None]), atol=1e-6)
    integers, one = quantise_rows(weight, "tensor")
    assert torch.allclose(rounded(given, FORMS["int8-tensor"]), torch.from_numpy(integers * one), atol=1e-6)
    blocks, scales = quantise_blocks(weight, 8)
    kept = ((blocks.astype(np.float32) - 128) * scales[..., None]).reshape(12, 64)
    assert torch.allclose(rounded(given, Blocks(8)), torch.from_numpy(kept), atol=1e-6)
    assert rounded(given, None) is given


def test_gradients_pass_through_rounding() -> None:
    weight = torch.randn(4, 64, requires_grad=True)
    rounded(weight, FORMS["int8"]).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones(4, 64))
