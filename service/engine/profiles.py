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

PROFILE, REFUSED, SKIPPED = ".json", ".refused", ".skipped"
"""Suffixes: what was measured, why it cannot run, and that there was no time for it at a start."""

AS_FILE = TypeAdapter(Profile)


class Profiles:
    """Those of a store and of this machine. A store that cannot be written to costs a measurement at every start."""

    def __init__(self, store: Path, device: Device) -> None:
        self.folder = store.expanduser() / FOLDER
        self.machine = fingerprint.machine(device)

    def find(self, manifest: Manifest, conditions: Conditions) -> Profile | None:
        """What was measured of these very files on such a machine under the same conditions."""
        try:
            return AS_FILE.validate_json(self._path(manifest, conditions, PROFILE).read_bytes())
        except (OSError, ValidationError):
            return None

    def refusal(self, manifest: Manifest, conditions: Conditions) -> str | None:
        """Why this machine cannot run the variant, if that was seen."""
        try:
            return self._path(manifest, conditions, REFUSED).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def skipped(self, manifest: Manifest, conditions: Conditions) -> bool:
        """Whether there was no time to measure it at an earlier start."""
        return self._path(manifest, conditions, SKIPPED).exists()

    def keep(self, manifest: Manifest, profile: Profile, conditions: Conditions) -> None:
        path = self._path(manifest, conditions, PROFILE)
        if self._written(path, AS_FILE.dump_json(profile, indent=1)):
            path.with_suffix(REFUSED).unlink(missing_ok=True)

    def refuse(self, manifest: Manifest, reason: str, conditions: Conditions) -> None:
        """Remember that it cannot be run here, until the hardware, the runtime or the files change."""
        path = self._path(manifest, conditions, REFUSED)
        if self._written(path, reason.encode()):
            path.with_suffix(PROFILE).unlink(missing_ok=True)

    def skip(self, manifest: Manifest, conditions: Conditions) -> None:
        self._written(self._path(manifest, conditions, SKIPPED), b"")

    def writable(self) -> bool:
        """Whether anything can be kept."""
        probe = self.folder / "probe"
        if written := self._written(probe, b""):
            probe.unlink(missing_ok=True)
        return written

    def _written(self, path: Path, content: bytes) -> bool:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f"{path.suffix}.part")
            part.write_bytes(content)
            part.replace(path)
        except OSError as error:
            _log.info("%s is not kept: %s", path.name, error)
            return False
        return True

    def _path(self, manifest: Manifest, conditions: Conditions, kind: str) -> Path:
        key = fingerprint.key(manifest, self.machine, conditions)
        return self.folder / f"{manifest.model}-{manifest.variant}-{key}{kind}"
