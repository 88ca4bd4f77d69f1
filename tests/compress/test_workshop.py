"""A recipe becomes a variant of the store, if it loses no more than it may."""

from pathlib import Path

import pytest

from model_store.compress.recipe import Recipe, read, shipped
from model_store.compress.workshop import Material, Workshop
from model_store.errors import CompressionError, ConversionError, GateClosed, NotInStore, RecipeError
from model_store.evaluate import hypotheses
from model_store.evaluate.datasets import read as read_data
from model_store.registry import Registry
from service import __version__
from tests.compress.drafts import TINY
from tests.evaluate.recordings import manifest_folder
from tests.evaluate.stores import writable_store

FEW_WORDS = 50
"""Points of WER: the three clips have twelve words, and a digit or a word for it is all the same to nobody."""

RUINOUS = b"""
name = "ruined"
precision = "int4"
[[steps]]
step = "quantise"
form = "codebook4"
layers = ["*"]
[[steps]]
step = "prune"
share = 0.9
[gate]
max_wer_growth = 50
"""


BY_LOSS = b"""
name = "by-loss"
precision = "int4"
[[steps]]
step = "hierarchical"
low = "int4"
layers = ["decoder.layers.0.fc1.weight"]
wer_growth = 1.0
"""


PRUNED_ON_TORCH = b"""
name = "pruned30-torch"
precision = "fp16"
runtime = "torch"
[[steps]]
step = "prune"
share = 0.3
[[steps]]
step = "quantise"
form = "fp16"
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(writable_store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    judged = manifest_folder(tmp_path_factory.mktemp("data") / "packaged")
    seen = manifest_folder(tmp_path_factory.mktemp("data") / "seen", "en/counting")
    return Material(read_data(seen), read_data(judged))


def workshop(registry: Registry) -> Workshop:
    return Workshop(registry, threads=1)


def test_a_variant_that_passes_is_registered_with_what_is_known_of_it(registry: Registry, material: Material) -> None:
    outcome = workshop(registry).build(TINY, shipped("int8"), material, max_wer_growth=FEW_WORDS)
    manifest = registry.get(TINY, "int8")
    assert outcome.manifest == manifest
    assert (manifest.parent, manifest.recipe, manifest.precision) == ("fp32", "int8", "int8")
    assert manifest.recipe_sha256 == shipped("int8").sha256
    assert manifest.calibrated_on is None  # no step looked
    evaluation = outcome.evaluation
    assert evaluation is not None
    assert evaluation in manifest.evaluations
    assert evaluation.recordings == 3
    assert outcome.growth is not None
    assert abs(outcome.growth.points) <= FEW_WORDS
    # The parent was measured on the same recordings, and nobody need do so again.
    assert registry.get(TINY, "fp32").evaluations[0].data_sha256 == evaluation.data_sha256
    assert registry.verify(TINY, "int8") == ()


def test_a_variant_that_loses_too_much_is_refused_and_told_by_how_much(registry: Registry, material: Material) -> None:
    with pytest.raises(
        GateClosed, match=r"ruined is not registered.*its recipe allows 50\.00, which it misses by"
    ) as refused:
        workshop(registry).build(TINY, read(RUINOUS, origin="ruined.toml"), material)
    assert refused.value.missed_by == pytest.approx(refused.value.growth - 50)
    with pytest.raises(NotInStore):
        registry.get(TINY, "ruined")


def test_the_gate_may_be_opened(registry: Registry, material: Material) -> None:
    recipe = read(RUINOUS.replace(b"ruined", b"ruined-openly"), origin="ruined.toml")
    outcome = workshop(registry).build(TINY, recipe, material, max_wer_growth=1e9)
    assert outcome.growth is not None
    assert outcome.growth.points > 50
    assert registry.get(TINY, "ruined-openly").evaluations


def test_the_base_variant_is_never_replaced(registry: Registry) -> None:
    before = registry.get(TINY, "fp32")
    recipe = shipped("fp16").model_copy(update={"gate": None, "name": "fp32"})
    with pytest.raises(RecipeError, match=r"it would replace whisper-tiny\.en:fp32"):
        workshop(registry).build(TINY, recipe, Material())
    assert registry.get(TINY, "fp32") == before


def test_what_the_parent_did_in_another_version_is_measured_anew(registry: Registry, material: Material) -> None:
    place = hypotheses.place(registry.root, registry.get(TINY, "fp32"), material.judged)
    recipe = shipped("fp16").model_copy(update={"name": "again"})
    workshop(registry).build(TINY, recipe, material, max_wer_growth=FEW_WORDS)
    kept = place.read_text()
    place.write_text(kept.replace('"wren":"', '"wren":"before '))
    workshop(registry).build(TINY, recipe, material, max_wer_growth=FEW_WORDS)
    assert hypotheses.read(place).run.versions["wren"] == __version__


def test_a_loss_cannot_be_measured_without_references(registry: Registry, tmp_path: Path) -> None:
    seen = read_data(manifest_folder(tmp_path / "seen", "en/counting", text=None), referenced_only=False)
    recipe = read(BY_LOSS, origin="by-loss.toml")
    with pytest.raises(CompressionError, match="recordings with references are needed"):
        workshop(registry).build(TINY, recipe, Material(seen))


def test_what_steps_looked_at_is_told(registry: Registry, material: Material) -> None:
    outcome = workshop(registry).build(TINY, shipped("int8-static"), material, max_wer_growth=1e9)
    assert outcome.manifest.calibrated_on is not None
    assert "seen" in outcome.manifest.calibrated_on
    assert outcome.manifest.calibrated_on.endswith("1 windows")


def test_a_gate_needs_something_to_judge_by(registry: Registry, material: Material) -> None:
    with pytest.raises(CompressionError, match="--data"):
        workshop(registry).build(TINY, shipped("int8"), Material(material.calibration))


def test_without_a_gate_and_recordings_a_variant_is_registered_unjudged(registry: Registry) -> None:
    recipe: Recipe = shipped("fp16").model_copy(update={"gate": None, "name": "unjudged"})
    outcome = workshop(registry).build(TINY, recipe, Material())
    assert (outcome.evaluation, outcome.growth) == (None, None)
    assert registry.get(TINY, "unjudged").evaluations == ()


def test_a_pruned_variant_for_torch_is_registered(registry: Registry) -> None:
    pytest.importorskip("torch", exc_type=ModuleNotFoundError)
    workshop(registry).build(TINY, read(PRUNED_ON_TORCH, origin="pruned30-torch.toml"), Material())
    manifest = registry.get(TINY, "pruned30-torch")
    assert (manifest.runtime, manifest.precision, manifest.parent) == ("torch", "fp16", "fp32")
    assert set(manifest.digests) == {"config.json", "tokenizer.json", "weights.safetensors"}
    assert registry.verify(TINY, "pruned30-torch") == ()


def test_a_model_that_is_not_there_is_told(registry: Registry, material: Material) -> None:
    with pytest.raises(NotInStore, match="whisper-huge"):
        workshop(registry).build("whisper-huge", shipped("int8"), material)


def test_a_base_variant_of_an_earlier_wren_is_told(tmp_path: Path, material: Material) -> None:
    """It has its weights in its graphs alone."""
    store = Registry(writable_store(tmp_path))
    (store.path(store.get(TINY, "fp32")) / "weights.safetensors").unlink()
    manifest = store.get(TINY, "fp32")
    kept = tuple(file for file in manifest.files if file.name != "weights.safetensors")
    path = store.path(manifest) / "manifest.json"
    path.write_text(manifest.model_copy(update={"files": kept}).model_dump_json())
    with pytest.raises(ConversionError, match=r"wren models pull --force"):
        workshop(store).build(TINY, shipped("int8"), material)


def test_nothing_is_left_behind(
    registry: Registry, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(GateClosed):
        workshop(registry).build(TINY, read(RUINOUS, origin="ruined.toml"), material)
    assert list(tmp_path.iterdir()) == []
