"""A store of the real models whose manifests may be written to."""

from pathlib import Path

from model_store.manifest import Manifest
from tests.engine.stores import linked_store
from tests.store import STORE

VARIANTS = ("whisper-tiny.en/int8", "whisper-tiny.en/fp32", "silero-vad/fp32")


def writable_store(root: Path) -> Path:
    """Links to the files, and copies of the manifests without what was measured of them."""
    linked_store(root, *VARIANTS)
    for variant in VARIANTS:
        manifest = root / variant / "manifest.json"
        manifest.unlink()
        known = Manifest.model_validate_json((STORE / variant / manifest.name).read_bytes())
        manifest.write_text(known.model_copy(update={"evaluations": ()}).model_dump_json())
    return root
