"""Context adaptation from recordings to a variant, in small: whether it makes a model good is measured, not tested."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_store.compress import adapter
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.config import WhisperConfig
from model_store.convert.model import write
from model_store.errors import CompressionError
from model_store.evaluate import datasets
from model_store.train import bank
from model_store.train.adapt import FILE_NAME, Adapt, adapt
from model_store.train.imitation import Imitation
from model_store.train.settings import Examples, Optimisation
from model_store.train.studio import Studio, Told
from service.audio.types import SAMPLE_RATE
from service.recognition.families import load
from tests.compress.drafts import TINY, tiny_draft
from tests.live import recording
from tests.store import folder

SETTINGS = Adapt(
    step="adapt",
    rank=2,
    examples=Examples(count=12, longest_s=3, min_confidence=-9.0),
    optimisation=Optimisation(steps=6, batch_s=12, checkpoint_every=2, peak=1e-3, warm_up=0),
)


def studio(path: Path, watch: list[Told] | None = None) -> Studio:
    """A folder of audio without a word of text."""
    audio = recording("en/counting").parent
    heard = datasets.read(audio, languages=("en",), referenced_only=False)
    told = [] if watch is None else watch
    return Studio(folder(TINY, "fp32"), heard, path, 2, told.append)


def run(path: Path, settings: Adapt = SETTINGS, watch: list[Told] | None = None) -> Draft:
    return adapt(tiny_draft(), settings, Context(studio=studio(path, watch), seed=5))


def differing(one: Draft, other: Draft) -> set[str]:
    return {name for name, weight in one.model.weights.items() if not np.array_equal(weight, other.model.weights[name])}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Draft, Path]:
    path = tmp_path_factory.mktemp("studio")
    return run(path), path


def test_only_the_encoders_layers_change(trained: tuple[Draft, Path]) -> None:
    changed = differing(trained[0], tiny_draft())
    assert changed
    assert all(name.startswith(("encoder.layers.", "encoder.layer_norm.")) for name in changed)


def test_the_window_is_padded_by_half_a_second_from_then_on(trained: tuple[Draft, Path], tmp_path: Path) -> None:
    config = trained[0].model.config
    assert isinstance(config, WhisperConfig)
    assert config.padding == SETTINGS.padding
    write(trained[0].model, trained[0].form, tmp_path / "variant")
    family = load(tmp_path / "variant")
    sound = np.zeros(3 * SAMPLE_RATE, np.float32)
    assert family.features(sound, full=False).length == 150 + 25
    assert np.exp(family.features(sound, full=False).log_weights).sum() == pytest.approx(1500)
    assert family.features(sound, full=True).length > 250


def test_the_same_run_twice_gives_the_same_weights(trained: tuple[Draft, Path], tmp_path: Path) -> None:
    assert not differing(run(tmp_path), trained[0])


def test_a_run_that_was_killed_goes_on(
    trained: tuple[Draft, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = Imitation.loss, []

    def killed(self: Imitation, examples: list[int]) -> object:
        asked.append(examples)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return real(self, examples)

    monkeypatch.setattr(Imitation, "loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.undo()
    told: list[Told] = []
    again = run(tmp_path, watch=told)
    assert [one.step for one in told] == [3, 4, 5, 6]
    assert not differing(again, trained[0])


def test_a_bank_that_was_cut_is_gone_on_with(trained: tuple[Draft, Path], tmp_path: Path) -> None:
    run(tmp_path, SETTINGS)
    (examples,) = tmp_path.glob("examples-*")
    index = examples / "index.jsonl"
    whole = index.read_bytes()
    index.write_bytes(whole[: whole.index(b"\n") + 30])
    sounds = (examples / "sounds.s16").read_bytes()
    (tmp_path / next(tmp_path.glob("checkpoint-*")).name).unlink()
    again = run(tmp_path)
    assert index.read_bytes() == whole
    assert (examples / "sounds.s16").read_bytes() == sounds
    assert not differing(again, trained[0])
    assert {one.kind for one in bank.Bank(examples, 384).examples} <= {"speech", "silence", "noise"}


def test_the_change_is_kept_and_can_be_put_in_again(trained: tuple[Draft, Path], tmp_path: Path) -> None:
    draft, path = trained
    again = adapter.adapter(tiny_draft(), adapter.Adapter(step="adapter", file=path / FILE_NAME))
    assert not differing(again, draft)
    assert "en" in adapter.read(path / FILE_NAME).facts.trained_on
    other = tiny_draft().having({**tiny_draft().model.weights, "encoder.layer_norm.bias": np.ones(384, np.float32)})
    with pytest.raises(CompressionError, match="another model"):
        adapter.adapter(other, adapter.Adapter(step="adapter", file=path / FILE_NAME))


def test_the_curve_is_drawn(trained: tuple[Draft, Path]) -> None:
    assert "<polyline" in (trained[1] / "curve-adapt.svg").read_text()


def test_what_is_no_change_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(CompressionError, match="not a change"):
        adapter.adapter(tiny_draft(), adapter.Adapter(step="adapter", file=tmp_path / "no.safetensors"))


def test_without_recordings_it_says_what_to_do() -> None:
    with pytest.raises(CompressionError, match="wren train --training DIR"):
        adapt(tiny_draft(), SETTINGS, Context())


def test_a_recording_that_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "broken.wav").write_bytes(b"RIFF nothing")
    heard = datasets.read(tmp_path / "data", languages=("en",), referenced_only=False)
    given = replace(studio(tmp_path / "work"), utterances=heard)
    said: list[str] = []
    with pytest.raises(CompressionError, match="none of the recordings"):
        adapt(tiny_draft(), SETTINGS, Context(studio=given, report=said.append))
    assert any("broken.wav" in line for line in said)
