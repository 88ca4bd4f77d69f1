"""Profiles kept on disk, below the store: a machine measures a variant once, and learns once that it cannot run one."""

import logging
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from model_store.manifest import Manifest
from service.engine import fingerprint
from service.engine.device import Device
from service.engine.fingerprint import Conditions
from service.engine.profile import Profile

_log = logging.getLogger(__name__)

FOLDER = ".profiles"

AS_FILE = TypeAdapter(Profile)


class Profiles:
    """Those of a store and of this machine. A store that cannot be written to costs a measurement at every start."""

    def __init__(self, store: Path, device: Device) -> None:
        self.folder = store.expanduser() / FOLDER
        self.machine = fingerprint.machine(device)

    def find(self, manifest: Manifest, conditions: Conditions) -> Profile | None:
        """What was measured of these very files on such a machine under the same conditions."""
        try:
            return AS_FILE.validate_json(self._path(manifest, conditions).read_bytes())
        except (OSError, ValidationError):
            return None

    def refusal(self, manifest: Manifest, conditions: Conditions) -> str | None:
        """Why this machine cannot run the variant, if that was seen."""
        try:
            return self._refusal_path(manifest, conditions).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def keep(self, manifest: Manifest, profile: Profile, conditions: Conditions) -> bool:
        """Whether it could be written."""
        return self._replace(
            self._path(manifest, conditions),
            AS_FILE.dump_json(profile, indent=1),
            in_place_of=self._refusal_path(manifest, conditions),
        )

    def refuse(self, manifest: Manifest, reason: str, conditions: Conditions) -> bool:
        """Remember that it cannot be run here, until the hardware, the runtime or the files change; as above."""
        return self._replace(
            self._refusal_path(manifest, conditions),
            reason.encode(),
            in_place_of=self._path(manifest, conditions),
        )

    def writable(self) -> bool:
        """Whether anything can be kept."""
        return self._replace(self.folder / "writable", b"", in_place_of=self.folder / "writable")

    def _replace(self, path: Path, content: bytes, *, in_place_of: Path) -> bool:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(content)
            part.replace(path)
            in_place_of.unlink(missing_ok=True)
        except OSError as error:
            _log.info("%s is not kept: %s", path.stem, error)
            return False
        return True

    def _path(self, manifest: Manifest, conditions: Conditions) -> Path:
        key = fingerprint.key(manifest, self.machine, conditions)
        return self.folder / f"{manifest.model}-{manifest.variant}-{key}.json"

    def _refusal_path(self, manifest: Manifest, conditions: Conditions) -> Path:
        return self._path(manifest, conditions).with_suffix(".refused")
