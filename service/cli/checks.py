"""The points that `wren doctor` looks at: settings in, findings out.

What is looked at may be broken down to its import, so each check imports its own and a failure stays in its finding.
"""

import asyncio
import importlib
import platform
import re
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from service.audio.sample import SAMPLE, SAMPLE_TEXT
from service.cli.findings import Finding
from service.cli.gpu_checks import gpu_finding, torch_findings
from service.cli.options import get, missing_models
from service.engine.device import Device, read_device
from service.engine.gpu import read_gpus
from service.errors import WrenError

if TYPE_CHECKING:
    from service.engine.types import Served
    from service.settings import Settings

Check = Callable[["Settings"], Iterator[Finding]]

MIB = 2**20
LEAST_MEMORY_BYTES = 512 * MIB
"""The server at rest, a small model and one long recording."""

ESSENTIAL = ("numpy", "onnxruntime", "av", "soundfile", "soxr", "tokenizers", "fastapi", "uvicorn")
"""Without any of these nothing is transcribed or served."""

OPTIONAL = ("openvino",)
REINSTALL = (
    "Install the pinned versions: pip install -r requirements.lock (or run `make setup` anew after `make clean`)"
)


def examine(settings: "Settings") -> list[Finding]:
    """Look at every point, in the order in which they build upon each other."""
    return [finding for check in CHECKS for finding in _guarded(check, settings)]


def check_python(_: "Settings") -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def check_packages(_: "Settings") -> Iterator[Finding]:
    versions: list[str] = []
    for name in ESSENTIAL:
        try:
            importlib.import_module(name)
            versions.append(f"{name} {metadata.version(name)}")
        except (ImportError, OSError) as error:  # OSError: a shared library of it does not load
            yield Finding(name, "fail", f"cannot be imported: {error}", REINSTALL)
    versions += [f"{name} {version}" for name in OPTIONAL if (version := _version(name))]
    yield Finding("packages", "ok", ", ".join(versions))


def check_device(settings: "Settings") -> Iterator[Finding]:
    device = read_device()
    yield Finding("cores", "ok", f"{device.cores} ({device.cores_reason})")
    yield _memory(device)
    yield _cpu(device)
    gpus = read_gpus(settings.device)
    yield gpu_finding(gpus)
    yield from torch_findings(gpus)


def check_providers(_: "Settings") -> Iterator[Finding]:
    from service.backends.onnx_probe import CPU, probe_providers

    for probe in probe_providers():
        if not probe.failure:
            yield Finding("onnxruntime", "ok", f"{probe.provider}: a small run took {probe.run_ms:.2f} ms")
        elif probe.provider == CPU:
            yield Finding("onnxruntime", "fail", f"{probe.provider}: {probe.failure}", REINSTALL)
        else:
            advice = (
                "The CPU is used. To use it, install the driver and the libraries that this onnxruntime was built for."
            )
            yield Finding("onnxruntime", "warn", f"{probe.provider}: {probe.failure}", advice)


def check_audio(_: "Settings") -> Iterator[Finding]:
    from service.audio.libraries import decoding_libraries

    libraries = decoding_libraries()
    told = f"{libraries.ffmpeg}, libsndfile {libraries.libsndfile}"
    if libraries.missing:
        lacking = f"{told}, without {', '.join(libraries.missing)}"
        yield Finding(
            "audio", "warn", lacking, "Install PyAV's own wheel: pip install --force-reinstall --only-binary av av"
        )
    else:
        yield Finding("audio", "ok", told)


def check_store(settings: "Settings") -> Iterator[Finding]:
    from model_store.registry import Registry

    registry = Registry(settings.store)
    manifests = registry.list()
    for problem in registry.verify():
        yield Finding("store", "fail", str(problem), get((problem.model,), settings.store) + " --force")
    held = ", ".join(f"{manifest.name} ({manifest.total_bytes / MIB:.0f} MiB)" for manifest in manifests)
    yield Finding("store", "ok", f"{registry.root}: {held or 'nothing'}")
    for name in missing_models(settings):
        yield Finding("model", "fail", f"the store has no {name}", get((name,), settings.store))


def check_recognition(settings: "Settings") -> Iterator[Finding]:
    """The self-test: the sentence that comes with Wren, from its file to its text."""
    served, load_s, run_s = asyncio.run(_recognise_sample(settings))
    text = served.transcript.text.strip()
    told = f"{served.manifest.name} loaded in {load_s:.1f} s, heard in {run_s:.2f} s: {text!r}"
    if _words(text) == _words(SAMPLE_TEXT):
        yield Finding("self-test", "ok", told)
    else:
        yield Finding("self-test", "warn", told, f"It should be {SAMPLE_TEXT!r}. Another model may hear better.")


CHECKS: tuple[Check, ...] = (
    check_python, check_packages, check_device, check_providers, check_audio, check_store, check_recognition,
)  # fmt: skip


def _guarded(check: Check, settings: "Settings") -> list[Finding]:
    """The findings of a check; that it cannot even be made is one."""
    findings: list[Finding] = []
    try:
        findings.extend(check(settings))
    except WrenError as error:
        findings.append(Finding(_point(check), "fail", str(error), "Mend what stands above first."))
    except Exception as error:  # whatever is broken here is what the doctor was called for
        findings.append(Finding(_point(check), "fail", f"{type(error).__name__}: {error}", REINSTALL))
    return findings


def _point(check: Check) -> str:
    return check.__name__.removeprefix("check_")


def _memory(device: Device) -> Finding:
    told = f"{device.memory_bytes / MIB:.0f} MiB ({device.memory_reason})"
    if device.memory_bytes < LEAST_MEMORY_BYTES:
        advice = f"Give it {LEAST_MEMORY_BYTES // MIB} MiB or more: a small INT8 model and a long recording need them."
        return Finding("memory", "warn", told, advice)
    return Finding("memory", "ok", told)


def _cpu(device: Device) -> Finding:
    told = f"{device.cpu}: {', '.join(device.features) or 'none of the instructions that matter'}"
    if device.architecture in ("x86_64", "AMD64") and device.features and "avx2" not in device.features:
        return Finding("cpu", "warn", told, "Without AVX2 everything takes several times as long. Use another machine.")
    if device.features and not device.fast_int8:
        return Finding("cpu", "warn", told, "INT8 saves memory here, hardly time: compare with an FP32 variant.")
    return Finding("cpu", "ok", told)


async def _recognise_sample(settings: "Settings") -> "tuple[Served, float, float]":
    """What was heard, the seconds to load the model and those to hear the sentence."""
    from service.engine.engine import LocalEngine
    from service.engine.types import Request

    started = time.perf_counter()
    engine = LocalEngine(settings.model_copy(update={"profile_s": 0}))
    await engine.start()
    try:
        loaded = time.perf_counter()
        served = await engine.transcribe(Request(SAMPLE, model=settings.model))
        return served, loaded - started, time.perf_counter() - loaded
    finally:
        await engine.close()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())
