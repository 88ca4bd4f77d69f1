"""Stores of the models that are there, with this or that broken."""

from pathlib import Path

from tests.store import STORE


def linked_store(root: Path, *variants: str) -> Path:
    """A store of links to `model/variant` of the real one; a link can be replaced without harm."""
    for variant in variants:
        (root / variant).mkdir(parents=True)
        for path in (STORE / variant).iterdir():
            (root / variant / path.name).symlink_to(path)
    return root


def cut(path: Path) -> None:
    """Replace the link by the first half of what it led to."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
