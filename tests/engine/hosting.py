"""Variants that cost nothing to load, and what loads them as a test wants it."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from model_store.manifest import File, Manifest, Precision
from service.backends.fake import FakeBackend, Line
from service.engine.fake import model_info
from service.engine.forming import EncodeCosts, Point
from service.engine.plan import Planned
from service.engine.profile import Hosted, Profile
from service.errors import ModelUnavailable
from service.recognition.recognizer import Recognizer
from tests.recognition.models import whisper

PROFILE = Profile(EncodeCosts((Point(1, 500, 10.0),)), rows=2, reason="", speed=10.0)


def manifest_of(name: str, *, build: int = 1, mb: int = 100) -> Manifest:
    """A variant with a file of its own; another build has another digest."""
    model, _, variant = name.partition(":")
    precision: Precision = "int8" if "int8" in variant else "fp32"
    file = File(name="encoder.onnx", sha256=sha256(f"{name} {build}".encode()).hexdigest(), bytes=mb * 10**6)
    found = model_info(model, precision).manifest
    return found.model_copy(update={"variant": variant, "files": (file,)})


@dataclass
class FakeLoader:
    """Loads what `faults` and `crashes` do not have; `gate` is awaited before each load, as if it took so long.

    Attributes:
        store: the builds that lie there; another is present than the one asked for if it stands here by its name.
        loads: names, in order.
    """

    faults: dict[str, str] = field(default_factory=dict)
    crashes: dict[str, Exception] = field(default_factory=dict)
    store: dict[str, Manifest] = field(default_factory=dict)
    gate: threading.Event | None = None
    loads: list[str] = field(default_factory=list)
    backends: list[FakeBackend] = field(default_factory=list)

    def present(self, manifest: Manifest) -> Manifest:
        return self.store.get(manifest.name, manifest)

    def settle(self, manifest: Manifest, planned: Planned | None = None) -> Hosted:
        return self.load(manifest)

    def load(self, manifest: Manifest) -> Hosted:
        self.loads.append(manifest.name)
        if self.gate is not None:
            self.gate.wait(5.0)
        if manifest.name in self.crashes:
            raise self.crashes[manifest.name]
        if manifest.name in self.faults:
            raise ModelUnavailable(manifest.name, self.faults[manifest.name])
        self.backends.append(FakeBackend([Line((3000,))], len(whisper().mask), whisper().end_token))
        return Hosted(manifest, Recognizer(self.backends[-1], whisper()), PROFILE, 1.0)

    def renew(self, lost: Hosted) -> Hosted:
        time.sleep(0.01)
        return self.load(lost.manifest)


async def eventually(happened: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - threads load and close
            await asyncio.sleep(0.005)
