from pathlib import Path

import pytest
from tiny_models import add, catalog_of, copied, draft, evaluation, folder

from model_store import evaluated
from model_store.errors import CatalogError
from model_store.pull import pull
from model_store.registry import Registry


def shipping(path: Path, registry: Registry) -> Registry:
    """Another store, for users of a Wren that comes with what was measured in `registry`."""
    evaluated.write(registry.list(), path / "evaluated.toml")
    return Registry(path / "user", shipped=path / "evaluated.toml")


def test_what_comes_with_wren_can_be_read() -> None:
    assert evaluated.load() == evaluated.Evaluated.model_validate(evaluated.load().model_dump())


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    odd = evaluation(device='A "quoted" \\ processor, 2 µs', energy_j=1e-7, wer=0.0, versions={"onnx runtime": "1"})
    manifests = [draft(evaluations=(evaluation(), odd)), draft(variant="int8"), draft(variant="a", evaluations=(odd,))]
    evaluated.write(manifests, tmp_path / "evaluated.toml")
    known = evaluated.load(tmp_path / "evaluated.toml")
    assert [known.of(manifest) for manifest in manifests] == [(evaluation(), odd), (), (odd,)]


def test_figures_are_told_of_the_very_same_files_only(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, evaluations=(evaluation(),))
    user = shipping(tmp_path, registry)
    assert add(user, tmp_path).evaluations == (evaluation(),)
    assert add(user, tmp_path, variant="int8").evaluations == (), "other variant"
    assert add(user, tmp_path, data=b"Weights").evaluations == (), "other files"


def test_figures_of_the_user_come_first(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, evaluations=(evaluation(),))
    own = evaluation(device="Mine", wer=7.5)
    assert add(shipping(tmp_path, registry), tmp_path, evaluations=(own,)).evaluations == (own,)


def test_a_pull_brings_them(registry: Registry, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "model.bin").write_bytes(b"weights")
    for manifest in pull("tiny", registry, catalog_of(folder(given)), convert=copied):
        registry.record("tiny", manifest.variant, evaluation(), digests=manifest.digests)
    user = shipping(tmp_path, registry)
    pulled = pull("tiny", user, catalog_of(folder(given)), convert=copied)
    assert [manifest.evaluations for manifest in pulled] == [(evaluation(),)] * 2
    assert pulled == user.list()


@pytest.mark.parametrize("text", ["[[evaluations]]\nvariant = 'a:b'", "x", "more = 1", None])
def test_a_file_that_is_not_as_it_should_be_is_told(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "evaluated.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CatalogError, match=r"evaluated\.toml cannot be used"):
        evaluated.load(path)
