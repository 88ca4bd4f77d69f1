"""Adaptation to a field, in small: from recordings with texts to changed weights."""

from dataclasses import replace
from pathlib import Path

import pytest

from model_store.compress import adapter
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.convert.model import read
from model_store.errors import CompressionError
from model_store.evaluate import datasets
from model_store.train.adapt import FILE_NAME
from model_store.train.augment.settings import Augmentation
from model_store.train.settings import Optimisation
from model_store.train.studio import Studio, Told
from model_store.train.tune import Tune, tune
from tests.compress.drafts import TINY, tiny_draft
from tests.evaluate.recordings import manifest_folder
from tests.store import folder
from tests.train.test_adapt import differing, studio

BRIEF = Optimisation(steps=4, batch_s=60, rows=8, checkpoint_every=2, peak=1e-3, warm_up=0)
SETTINGS = Tune(step="tune", rank=4, optimisation=BRIEF)


def labelled(path: Path, told: list[Told], base: str = TINY) -> Studio:
    heard = datasets.read(manifest_folder(path / "data"), languages=("en",))
    return Studio(folder(base, "fp32"), heard, path / "work", 2, told.append)


def run(path: Path, settings: Tune = SETTINGS, told: list[Told] | None = None) -> Draft:
    path.mkdir(exist_ok=True)
    return tune(tiny_draft(), settings, Context(studio=labelled(path, [] if told is None else told), seed=5))


def test_a_low_rank_change_learns_the_texts_and_is_kept(tmp_path: Path) -> None:
    told: list[Told] = []
    tuned = run(tmp_path / "one", told=told)
    assert told[-1].loss < 0.9 * told[0].loss
    changed = differing(tuned, tiny_draft())
    assert any(name.startswith("decoder.layers.") for name in changed)
    assert not any("embed" in name for name in changed)
    change = adapter.Adapter(step="adapter", file=tmp_path / "one" / "work" / FILE_NAME)
    assert not differing(adapter.adapter(tiny_draft(), change), tuned)
    assert not differing(run(tmp_path / "two"), tuned)


def test_all_weights_may_be_trained(tmp_path: Path) -> None:
    told: list[Told] = []
    full = SETTINGS.model_copy(update={"rank": 0, "optimisation": BRIEF.model_copy(update={"peak": 3e-5})})
    assert differing(run(tmp_path / "full", full, told), tiny_draft())
    assert told[-1].loss < told[0].loss
    assert not (tmp_path / "full" / "work" / FILE_NAME).exists()


def test_characters_can_be_learnt_beside_the_tokens(tmp_path: Path) -> None:
    alone: list[Told] = []
    both: list[Told] = []
    run(tmp_path / "alone", told=alone)
    tuned = run(tmp_path / "both", SETTINGS.model_copy(update={"ctc": 0.3}), both)
    assert both[0].loss > alone[0].loss
    assert both[-1].loss < 0.9 * both[0].loss
    assert set(tuned.model.weights) == set(tiny_draft().model.weights)


def test_copies_are_changed_each_in_another_way(tmp_path: Path) -> None:
    changes = {"noise": {"probability": 1.0}, "speed": {"probability": 0.5}, "masks": {"probability": 1.0}}
    augmented = SETTINGS.model_copy(update={"copies": 2, "augmentation": Augmentation.model_validate(changes)})
    tuned = run(tmp_path / "noisy", augmented)
    assert differing(tuned, run(tmp_path / "clean"))
    assert not differing(tuned, run(tmp_path / "again", augmented))


def test_small_letters_are_another_text(tmp_path: Path) -> None:
    lower = run(tmp_path / "lower", SETTINGS.model_copy(update={"case": "lower"}))
    assert differing(lower, run(tmp_path / "kept"))


def test_the_language_is_of_multilingual_models(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"language": 0.5})
    with pytest.raises(CompressionError, match="knows one language"):
        run(tmp_path / "one", settings)
    draft, told = Draft(read(folder("whisper-base", "fp32"))), list[Told]()
    brief = settings.model_copy(update={"optimisation": BRIEF.model_copy(update={"steps": 2})})
    (tmp_path / "base").mkdir()
    tune(draft, brief, Context(studio=labelled(tmp_path / "base", told, "whisper-base"), seed=5))
    assert len(told) == 2


def test_recordings_without_texts_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match="no recording has a text"):
        tune(tiny_draft(), SETTINGS, Context(studio=studio(tmp_path), seed=5))


def test_recordings_that_are_too_long_are_left_out_and_told(tmp_path: Path) -> None:
    given = labelled(tmp_path, [])
    first, *rest = given.utterances
    said: list[str] = []
    long = replace(first, text="word " * 300)
    tune(tiny_draft(), SETTINGS, Context(studio=replace(given, utterances=(long, *rest)), report=said.append))
    assert any("1 recordings are left out" in line for line in said)
