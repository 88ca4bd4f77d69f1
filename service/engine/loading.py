"""A manifest in, its variant loaded, warm and measured out; and how executors share the cores."""

import logging
import math
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.errors import StoreError
from model_store.manifest import Manifest
from model_store.registry import Registry
from service.backends.base import Backend
from service.backends.onnx import Encoder, OnnxBackend
from service.engine.device import Device
from service.engine.fingerprint import Conditions
from service.engine.forming import Layout, best_layout, layouts
from service.engine.heap import give_back
from service.engine.lanes import BUCKETS
from service.engine.plan import Planned
from service.engine.profile import Hosted, Profile
from service.engine.profiles import Profiles
from service.engine.smoke import smoke_test
from service.engine.timing import measure, throughput
from service.errors import DeviceUnavailable, ModelUnavailable
from service.recognition import families
from service.recognition.families.base import Family
from service.recognition.recognizer import Recognizer

if TYPE_CHECKING:
    from service.backends.torch.devices import Devices

_log = logging.getLogger(__name__)

MEMORY_SHARE = 8
"""One part in so many of the memory is for the caches of decode batches."""

TRIAL_S = 0.5
"""How long a layout is tried."""


def most_rows(
    backend: Backend, device: Device, executors: int, *, memory_bytes: int | None = None, gpu_bytes: int | None = None
) -> int:
    """Rows of a decode batch that are worth it and that there is memory for: the GPUs' where it computes on them.

    Args:
        backend: a loaded variant.
        device: this machine.
        executors: that have such a batch each.
        memory_bytes: what may be used if that is not all that the device has; 0 if unknown.
        gpu_bytes: the same of each GPU.
    """
    there_bytes = device.memory_bytes if memory_bytes is None else memory_bytes
    if backend.device_bytes:
        gpus = device.gpus.gpus
        there_bytes = min((gpu.memory_bytes for gpu in gpus), default=0) if gpu_bytes is None else gpu_bytes
        executors = math.ceil(executors / max(1, len(gpus)))
    if not there_bytes:
        return backend.decoder_rows
    share_bytes = there_bytes // MEMORY_SHARE // executors
    return max(1, min(backend.decoder_rows, share_bytes // backend.row_bytes(BUCKETS[0])))


class Loader:
    """Loads variants for the executors that `settle` chose. For one thread."""

    def __init__(
        self,
        registry: Registry,
        device: Device,
        *,
        threads: int,
        executors: int | None,
        memory_bytes: int | None = None,
        gpu_bytes: int = 0,
        smoke_tests: bool = True,
    ) -> None:
        """Make one.

        Args:
            registry: of the store.
            device: this machine.
            threads: for all executors together.
            executors: as the setting.
            memory_bytes: what may be used if that is less than the device has.
            gpu_bytes: what may be used of each GPU; 0 for no limit.
            smoke_tests: False where how wrong a variant is, is the question.
        """
        self._smoke_tests = smoke_tests
        self._registry, self._device, self._threads = registry, device, threads
        self._memory_bytes = device.memory_bytes if memory_bytes is None else memory_bytes
        self._gpu_bytes = gpu_bytes
        self._executors = executors
        self._profiles = Profiles(registry.root, device)
        self._conditions = Conditions.of(device, threads=threads, executors=executors)
        self._families: dict[tuple[str, ...], Family] = {}
        self.layout = _candidates(threads, executors)[0]

    def settle(self, manifest: Manifest, planned: Planned | None = None) -> Hosted:
        """Load the variant that mostly serves, with the layout that computes most of it, or with what was planned.

        Raises:
            ModelUnavailable: a file is missing or damaged, or this runtime cannot run it.
        """
        profile = self._profiles.find(manifest, self._conditions)
        if profile is None:
            hosted = self.measure(manifest)
            self._profiles.keep(manifest, hosted.profile, self._conditions)
        else:
            self.layout = _shared(profile.layout, planned.executors, self._threads) if planned else profile.layout
            hosted = self._hosted(manifest, profile)
        _log.info("executors: %s", hosted.profile.layout_reason)
        return self._within(hosted, planned)

    def load(self, manifest: Manifest) -> Hosted:
        """Load another variant, perhaps in the midst of work.

        Raises:
            ModelUnavailable: as above.
        """
        profile = self._profiles.find(manifest, self._conditions) or self._of_sibling(manifest)
        hosted = self._trial(manifest, self.layout) if profile is None else self._hosted(manifest, profile)
        return self._within(hosted)

    def renew(self, lost: Hosted) -> Hosted:
        """Load a variant once more, which costs what it did: to measure it in the midst of work would mislead.

        Raises:
            ModelUnavailable: as above.
        """
        present = self.present(lost.manifest)
        recognizer, load_ms = self._recognizer(present, self.layout, tested=present.digest == lost.manifest.digest)
        return Hosted(present, recognizer, lost.profile, load_ms)

    def present(self, manifest: Manifest) -> Manifest:
        """The build that lies in the store now: what was chosen a moment ago may have been replaced or rolled back.

        Raises:
            ModelUnavailable: it was removed, or its manifest is damaged.
        """
        try:
            found = self._registry.get(manifest.model, manifest.variant)
        except StoreError as error:
            raise ModelUnavailable(manifest.name, str(error).rstrip(".")) from error
        return manifest if found.digest == manifest.digest else found

    def measure(self, manifest: Manifest) -> Hosted:
        """Try the layouts one after another, so that there is one copy of the weights at a time, and take the best.

        Raises:
            ModelUnavailable: as above.
        """
        profiles: dict[Layout, Profile] = {}
        speeds: dict[Layout, float] = {}
        candidates = self._layouts(manifest)
        for layout in candidates:
            hosted = self._trial(manifest, layout)
            profiles[layout] = hosted.profile
            if len(candidates) == 1:
                self.layout = layout
                return hosted
            speeds[layout] = throughput(hosted.recognizer, hosted.profile, layout, seconds=TRIAL_S)
            hosted.recognizer.backend.close()
            del hosted
            give_back()
        self.layout, reason = best_layout(speeds)
        profile = replace(profiles[self.layout], layout_reason=f"{reason}, in windows a second")
        return self._hosted(manifest, profile)

    def _layouts(self, manifest: Manifest) -> Sequence[Layout]:
        """Those to try: one executor a GPU where that is what computes."""
        executors = self._executors
        if executors is None and manifest.runtime == "torch":
            devices = _torch_devices(manifest.name, self._device.gpus.asked).devices
            executors = sum(device.type == "cuda" for device in devices) or None
        return _candidates(self._threads, executors)

    def _trial(self, manifest: Manifest, layout: Layout) -> Hosted:
        """The variant under a layout that may not be the best, measured."""
        recognizer, load_ms = self._recognizer(manifest, layout)
        gpu_bytes = self._gpu_bytes or None
        most = most_rows(recognizer.backend, self._device, layout.executors, gpu_bytes=gpu_bytes)
        profile = measure(recognizer, most_rows=most)
        give_back()
        return Hosted(manifest, recognizer, replace(profile, layout=layout), load_ms)

    def _of_sibling(self, manifest: Manifest) -> Profile | None:
        """What was measured of another variant of the model, of the same precision if there is one.

        Timed beside two busy executors, a variant came out at a third of its speed, and with anything from 1 to 8 rows.
        What computes on a GPU and what does not tell nothing of each other.
        """
        models = [one for one in self._registry.list() if one.model == manifest.model]
        on_gpu = self._device.gpus.compute
        siblings = [one for one in models if on_gpu(one.runtime) == on_gpu(manifest.runtime)]
        for one in sorted(siblings, key=lambda one: one.precision != manifest.precision):
            if profile := self._profiles.find(one, self._conditions):
                return replace(profile, reason=f"as {one.name}: {profile.reason}", timings=None, service=None)
        return None

    def _within(self, hosted: Hosted, planned: Planned | None = None) -> Hosted:
        """With no more rows than were planned, or than there is memory for; what is kept on disk knows no budget."""
        backend, executors = hosted.recognizer.backend, self.layout.executors
        room = most_rows(backend, self._device, executors, memory_bytes=self._memory_bytes, gpu_bytes=self._gpu_bytes)
        most = planned.rows if planned else room
        return replace(hosted, profile=replace(hosted.profile, rows=min(most, hosted.profile.rows)))

    def _hosted(self, manifest: Manifest, profile: Profile) -> Hosted:
        recognizer, load_ms = self._recognizer(manifest, self.layout)
        return Hosted(manifest, recognizer, profile, load_ms)

    def _recognizer(self, manifest: Manifest, layout: Layout, *, tested: bool = False) -> tuple[Recognizer, float]:
        """With the milliseconds that it took; what was loaded of a variant that fails is freed at once."""
        started = time.perf_counter()
        try:
            recognizer = self._ready(manifest, layout, tested=tested)
        except Exception as error:
            # Its frames hold what was loaded for as long as somebody has the error.
            traceback.clear_frames(error.__traceback__)
            give_back()
            if isinstance(error, ModelUnavailable):
                raise
            # onnxruntime's errors have no common class below Exception; whatever it is, the server goes on.
            reason = (str(error) or repr(error)).splitlines()[0].replace(f"{self._registry.path(manifest)}/", "")
            raise ModelUnavailable(manifest.name, reason) from error
        load_ms = 1e3 * (time.perf_counter() - started)
        _log.info("loaded %s in %.0f ms", manifest.name, load_ms)
        return recognizer, load_ms

    def _ready(self, manifest: Manifest, layout: Layout, *, tested: bool) -> Recognizer:
        """Loaded, warmed up and, unless these very files were tested in this process, smoke-tested."""
        folder = self._registry.checked(manifest)
        recognizer = Recognizer(self._backend(manifest, layout), self._family(manifest, folder))
        recognizer.warmup()
        if self._smoke_tests and not tested:
            smoke_test(manifest.name, recognizer)
        return recognizer

    def _family(self, manifest: Manifest, folder: Path) -> Family:
        """The model's, read once and kept: 11 MB, and while its tokenizer is read, for 60 ms, no thread runs."""
        key = tuple(manifest.digests[name] for name in families.FILES)
        family = self._families.get(key)
        if family is None:
            family = self._families[key] = families.load(folder)
        return family

    def _backend(self, manifest: Manifest, layout: Layout) -> Backend:
        # A lone request uses cores that other executors leave idle.
        encoder_threads = min(self._threads, 2 * layout.threads)
        folder, encoder = self._registry.path(manifest), None
        if manifest.runtime == "torch":
            devices = _torch_devices(manifest.name, self._device.gpus.asked, gpu_bytes=self._gpu_bytes)
            return _torch(folder, devices, threads=layout.threads, encoder_threads=encoder_threads)
        if manifest.runtime == "openvino":
            encoder = _openvino(manifest, folder, threads=encoder_threads, streams=self._threads // encoder_threads)
        return OnnxBackend(folder, threads=layout.threads, encoder_threads=encoder_threads, encoder=encoder)


def _openvino(manifest: Manifest, folder: Path, *, threads: int, streams: int) -> Encoder:
    try:
        from service.backends.openvino import OpenVinoEncoder  # noqa: PLC0415 - an extra that may not be there
    except ModuleNotFoundError as error:
        raise ModelUnavailable(manifest.name, 'it needs OpenVINO: pip install "wren-asr[openvino]"') from error
    exact = manifest.precision == "fp32"
    return OpenVinoEncoder(folder / "encoder.onnx", threads=threads, streams=streams, exact=exact)


def _torch(folder: Path, devices: "Devices", *, threads: int, encoder_threads: int) -> Backend:
    from service.backends.torch.backend import TorchBackend  # noqa: PLC0415 - an extra, and slow to import

    _log.info("torch: %s", devices.reason)
    return TorchBackend(folder, devices=devices.devices, threads=threads, encoder_threads=encoder_threads)


def _torch_devices(name: str, asked: str, *, gpu_bytes: int = 0) -> "Devices":
    """Those that torch computes on, where it takes no more than so much of each GPU; 0 for no limit.

    Raises:
        DeviceUnavailable: a GPU that was asked for is of no use.
        ModelUnavailable: torch is not there, or cannot be imported.
    """
    try:
        from service.backends.torch.devices import DeviceMissing, limit_memory, usable  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ModelUnavailable(name, 'it needs PyTorch: pip install "wren-asr[torch]"') from error
    except (ImportError, OSError) as error:  # a shared library of it is missing
        raise ModelUnavailable(name, f"PyTorch cannot be imported: {str(error).splitlines()[0]}") from error
    try:
        found = usable(asked)
    except DeviceMissing as error:
        raise DeviceUnavailable(name, str(error)) from error
    if gpu_bytes:
        limit_memory(found.devices, gpu_bytes)
    return found


def _shared(layout: Layout, executors: int, threads: int) -> Layout:
    """Fewer executors have more threads each."""
    return layout if executors >= layout.executors else Layout(executors, max(1, threads // executors))


def _candidates(threads: int, executors: int | None) -> Sequence[Layout]:
    if executors is None:
        return layouts(threads)
    return (Layout(executors, max(1, threads // executors)),)
