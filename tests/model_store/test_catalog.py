from pathlib import Path

import pytest

from model_store import catalog
from model_store.errors import CatalogError, UnknownModel

ADDED = """
[models.my-whisper]
family = "whisper"
languages = ["en", "fr"]
license = "CC-BY-4.0"

[[models.my-whisper.sources]]
kind = "file"
format = "whisper-huggingface"
path = "weights"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "catalog.toml"
    path.write_text(text)
    return path


def test_bundled_models_have_pinned_packages_first() -> None:
    models = catalog.load().models
    assert set(models) == {"whisper-tiny.en", "whisper-base", "moonshine-tiny", "silero-vad"}
    assert {model.sources[0].kind for model in models.values()} == {"pypi"}


def test_every_bundled_model_has_a_second_source_of_another_kind() -> None:
    for name, model in catalog.load().models.items():
        assert len({source.kind for source in model.sources}) > 1, name


def test_whisper_base_lists_each_of_its_languages_once() -> None:
    languages = catalog.load().get("whisper-base").languages
    assert len(languages) == len(set(languages)) == 99


def test_unknown_model_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownModel, match=r"'whisper-huge'.*whisper-tiny\.en"):
        catalog.load().get("whisper-huge")


def test_user_catalogue_adds_a_model_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    added = catalog.load(written(tmp_path, ADDED))
    source = added.get("my-whisper").sources[0]
    assert isinstance(source, catalog.FileSource)
    assert source.path == tmp_path / "weights"
    assert "whisper-base" in added.models


def test_user_catalogue_overrides_a_bundled_model(tmp_path: Path) -> None:
    added = catalog.load(written(tmp_path, ADDED.replace("my-whisper", "whisper-base")))
    assert [source.kind for source in added.get("whisper-base").sources] == ["file"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models", "it is not TOML"),
        (ADDED.replace("whisper-huggingface", "gguf"), r"sources\.0\.file\.format"),
        (ADDED.replace('kind = "file"', 'kind = "ftp"'), r"my-whisper\.sources\.0"),
        (ADDED + "checksum = 'a'", "checksum: Extra inputs"),
        (ADDED.replace("my-whisper", '"../escape"'), "should match pattern"),
        (ADDED + ADDED.replace("my-whisper", "My-Whisper"), "differ in case"),
    ],
)
def test_faulty_user_catalogue_is_told_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(CatalogError, match=said) as told:
        catalog.load(path)
    assert str(path) in str(told.value)


def test_missing_user_catalogue_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="No such file"):
        catalog.load(tmp_path / "none.toml")


@pytest.mark.parametrize("requirement", ["--index-url=x", "name>=1", "name==1 --pre", "name"])
def test_a_wheel_is_an_exact_pin_and_never_an_option_of_pip(requirement: str) -> None:
    with pytest.raises(ValueError, match="requirement"):
        catalog.Wheel(requirement=requirement, sha256="0" * 64, bytes=1)
