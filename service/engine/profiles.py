"""Measured profiles, kept on disk: a machine measures a variant once."""

import hashlib
import json
import logging
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from model_store.manifest import Manifest
from service.engine.device import Device
from service.engine.forming import EncodeCosts, Layout, Point
from service.engine.profile import Profile

_log = logging.getLogger(__name__)

FOLDER = ".profiles"

MEASURED_AS = 1
"""Counted up when what is measured changes."""


class _Measured(BaseModel):
    """A profile as a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encode: tuple[tuple[int, int, float], ...]
    rows: int
    reason: str
    speed: float
    executors: int
    threads: int
    layout_reason: str


class Profiles:
    """The profiles below a store. A store that cannot be written to costs a measurement at every start."""

    def __init__(self, store: Path, device: Device) -> None:
        self._folder = store.expanduser() / FOLDER
        self._device = device

    def find(self, manifest: Manifest, *, conditions: str) -> tuple[Profile, Layout, str] | None:
        """What was measured of these very files on such a machine under the same conditions."""
        try:
            kept = _Measured.model_validate_json(self._path(manifest, conditions).read_bytes())
        except (OSError, ValidationError):
            return None
        profile = Profile(EncodeCosts(tuple(Point(*one) for one in kept.encode)), kept.rows, kept.reason, kept.speed)
        return profile, Layout(kept.executors, kept.threads), kept.layout_reason

    def keep(self, manifest: Manifest, profile: Profile, layout: Layout, reason: str, *, conditions: str) -> None:
        points = tuple((point.rows, point.length, point.ms) for point in profile.encode.points)
        kept = _Measured(
            encode=points,
            rows=profile.rows,
            reason=profile.reason,
            speed=profile.speed,
            executors=layout.executors,
            threads=layout.threads,
            layout_reason=reason,
        )
        path = self._path(manifest, conditions)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text(kept.model_dump_json(indent=1), encoding="utf-8")
            part.replace(path)
        except OSError as error:
            _log.info("the profile of %s is not kept: %s", manifest.name, error)

    def _path(self, manifest: Manifest, conditions: str) -> Path:
        device = self._device
        machine = [device.architecture, device.cpu, device.cores, *device.features, version("onnxruntime"), MEASURED_AS]
        files = [file.sha256 for file in manifest.files]
        key = hashlib.sha256(json.dumps([machine, files, conditions]).encode()).hexdigest()
        return self._folder / f"{manifest.model}-{manifest.variant}-{key[:16]}.json"
