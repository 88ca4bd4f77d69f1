from pathlib import Path

import pytest

from model_store.compress.recipe import find, names, read, shipped
from model_store.errors import RecipeError

SOUND = b"""
name = "mine"
precision = "int8"
[[steps]]
step = "quantise"
form = "int8-weights"
layers = ["decoder.*"]
[gate]
max_wer_growth = 1.5
"""


@pytest.mark.parametrize("name", names())
def test_shipped_recipes_are_sound_and_named_as_their_files(name: str) -> None:
    recipe = shipped(name)
    assert recipe.name == name
    assert recipe.about
    # What torch computes with is made where there are no recordings: before the first start on a GPU.
    assert (recipe.gate is None) == (recipe.runtime == "torch")
    assert len(recipe.sha256) == 64


def test_a_recipe_of_ones_own_is_found_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(SOUND)
    recipe = find(str(tmp_path / "mine.toml"))
    assert (recipe.name, recipe.precision, len(recipe.steps)) == ("mine", "int8", 1)


def test_the_digest_is_of_the_text() -> None:
    assert read(SOUND, origin="").sha256 == read(SOUND, origin="elsewhere").sha256
    assert read(SOUND + b"\n", origin="").sha256 != read(SOUND, origin="").sha256


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((b'"quantise"', b'"melt"'), "melt"),
        ((b'"int8-weights"', b'"int3"'), "form"),
        ((b"layers", b"layer"), "layer: Extra inputs"),
        ((b"1.5", b"-1"), "max_wer_growth"),
        ((b'"mine"', b'"../mine"'), "name"),
        ((b"form =", b"fom ="), "fom: Extra inputs"),
        ((b"max_wer_growth", b"max_wer_grwth"), "max_wer_grwth: Extra inputs"),
        ((b"[[steps]]", b"[[steps"), "no TOML"),
        ((b"mine", b"\xff"), "no TOML"),
        ((b'name = "mine"', b""), "name: Field required"),
    ],
)
def test_what_is_wrong_is_told(change: tuple[bytes, bytes], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        read(SOUND.replace(*change), origin="mine.toml")


def test_a_recipe_without_steps_is_none() -> None:
    with pytest.raises(RecipeError, match="steps"):
        read(b'name = "x"\nprecision = "int8"\nsteps = []', origin="x.toml")


def test_an_unknown_name_lists_those_that_there_are() -> None:
    with pytest.raises(RecipeError, match="int8-static"):
        find("int9")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        find(str(tmp_path / "none.toml"))
