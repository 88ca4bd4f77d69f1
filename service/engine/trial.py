"""A variant in; its costs out, measured in this process, so that its memory is the variant's alone.

    python -m service.engine.trial timings STORE MODEL:VARIANT --threads N [--executors M] [--device D]
    python -m service.engine.trial service STORE MODEL:VARIANT --threads N [--executors M] [--device D]

`timings` computes batches and prints a profile as JSON. `service` is a server but for HTTP, which reads that profile
from the store as every server does, is sent some requests and prints what it needed. Both keep to so many cores.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from pydantic import TypeAdapter

from model_store.errors import StoreError
from model_store.registry import Registry
from service.app import create_app
from service.audio.sample import SAMPLE
from service.audio.types import MAX_WINDOW_S, VadOptions
from service.engine.attempt import ELSEWHERE
from service.engine.device import read_device
from service.engine.engine import LocalEngine
from service.engine.forming import EncodeCosts
from service.engine.gpu import peak_gpu_bytes, read_gpus
from service.engine.heap import few_arenas
from service.engine.lanes import BUCKETS
from service.engine.loading import TRIAL_S, Loader, most_rows
from service.engine.plan import UTTERANCE_S
from service.engine.profile import Profile, Service, Timings
from service.engine.resident import read_resident
from service.engine.timing import PROMPT_AND_END, STEPS, WINDOWS_S, encodings, steppings, throughput
from service.engine.types import Engine, Request, Served
from service.errors import DeviceUnavailable, ModelUnavailable, WrenError
from service.recognition.types import Options
from service.settings import Settings

AS_JSON: TypeAdapter[Profile | Service] = TypeAdapter(Profile | Service)

REPEATS = 5

GREEDY = Options(temperatures=(0.0,))
"""A text is not decoded again and again where a variant stumbles over a sentence that comes twice."""


def main() -> None:
    asked = _arguments()
    _keep_to(asked.threads)
    few_arenas()
    try:
        found = _found(asked)
    except ModelUnavailable as error:
        sys.stderr.write(f"{error.reason}\n")
        # The speech detector may be what is missing, a file be damaged, or a driver: all can be mended.
        mendable = isinstance(error, DeviceUnavailable) or isinstance(error.__cause__, StoreError)
        sys.exit(1 if error.name == asked.name and not mendable else ELSEWHERE)
    except (StoreError, WrenError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(ELSEWHERE)
    sys.stdout.buffer.write(AS_JSON.dump_json(found))


def _found(asked: argparse.Namespace) -> Profile | Service:
    if asked.stage == "timings":
        return timings(asked.store, asked.name, threads=asked.threads, executors=asked.executors, device=asked.device)
    settings = Settings(
        store=asked.store,
        model=asked.name,
        threads=asked.threads,
        executors=asked.executors,
        device=asked.device,
        cascade=None,  # whatever the deployment's own: this variant alone is measured
        profile_s=0,
    )
    return asyncio.run(service(settings))


def timings(store: Path, name: str, *, threads: int, executors: int | None, device: str = "auto") -> Profile:
    """The whole profile but for `service`."""
    registry, machine = Registry(store), read_device(gpus=read_gpus(device))
    model, _, variant = name.partition(":")
    hosted = Loader(registry, machine, threads=threads, executors=executors).measure(registry.get(model, variant))
    recognizer, profile = hosted.recognizer, hosted.profile
    row_bytes = recognizer.backend.row_bytes(BUCKETS[0])
    most = most_rows(recognizer.backend, machine, profile.layout.executors)
    windows_per_s = throughput(recognizer, profile, profile.layout, seconds=TRIAL_S)
    return replace(
        profile,
        encode=EncodeCosts(encodings(recognizer, WINDOWS_S)),
        timings=Timings(
            steps=steppings(recognizer, BUCKETS, most_rows=most),
            load_ms=hosted.load_ms,
            row_bytes=row_bytes,
            speed=UTTERANCE_S * windows_per_s,
        ),
    )


async def service(settings: Settings) -> Service:
    """What serving needs: the latency of an utterance, and memory also with windows of the greatest length."""
    engine = LocalEngine(settings)
    create_app(settings, engine)  # for the memory that it takes
    await engine.start()
    try:
        idle_bytes, gpu_idle_bytes = read_resident().now_bytes, peak_gpu_bytes()
        latency_ms = await _latency_ms(engine, Request(spoken(2, seconds=UTTERANCE_S), options=GREEDY))
        utterance_bytes = read_resident().peak_bytes
        await engine.transcribe(Request(spoken(3, seconds=10.0), options=GREEDY))
        longest = spoken(1, seconds=MAX_WINDOW_S)
        await engine.transcribe(Request(longest, options=GREEDY, vad=VadOptions(enabled=False)))
    finally:
        await engine.close()
    resident = read_resident()
    return Service(
        idle_bytes=idle_bytes,
        utterance_bytes=utterance_bytes,
        peak_bytes=resident.peak_bytes,
        file_bytes=resident.file_bytes,
        latency_ms=latency_ms,
        gpu_idle_bytes=gpu_idle_bytes,
        gpu_bytes=peak_gpu_bytes(),
    )


def spoken(times: int, *, seconds: float) -> bytes:
    """The sentence that comes with Wren, so many times in so much time, as a FLAC file."""
    sentence, rate = soundfile.read(SAMPLE, dtype="int16")
    each = np.zeros(round(seconds / times * rate), np.int16)
    each[: len(sentence)] = sentence[: len(each)]
    out = BytesIO()
    soundfile.write(out, np.tile(each, times), rate, format="FLAC")
    return out.getvalue()


async def _latency_ms(engine: Engine, request: Request) -> float:
    """The median; the first is not counted, for a server that has run for a minute does not do it again."""
    spent = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        served = await engine.transcribe(request)
        spent.append(1e3 * (time.perf_counter() - started) + _correction_ms(served))
    return statistics.median(spent[1:])


def _correction_ms(served: Served) -> float:
    """What `STEPS` steps would have taken more: some variants say the sentence once, some twice and some at length."""
    steps = sum(len(segment.tokens) for segment in served.transcript.segments) + PROMPT_AND_END
    return served.stage_ms["decode_text"] * (STEPS / steps - 1)


def _keep_to(cores: int) -> None:
    """The first so many of those that this process may run on; where the system has no such thing, threads alone."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("timings", "service"))
    parser.add_argument("store", type=Path)
    parser.add_argument("name")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--executors", type=int)
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


if __name__ == "__main__":
    main()
