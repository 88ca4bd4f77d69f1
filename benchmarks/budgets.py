"""Is what the plan chooses the best that there is, and are its predictions true?

python -m benchmarks.budgets --data DIR [--models NAME … --store DIR]

For five budgets: what `wren plan` would serve first, from this machine's profiles and the manifests' evaluations,
beside an exhaustive measurement of every variant in a real server process under the same limits: six seconds of speech
at a time, then eight clients at once. Variants should have been evaluated (`python -m benchmarks.variants`) before.
"""

import asyncio
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import httpx
import soundfile

from benchmarks import options, report
from benchmarks.clients import ROUTE, closed_loop, summary, warm_up
from benchmarks.latency import quantile
from benchmarks.servers import Server, ours
from benchmarks.speech import Utterance
from model_store.manifest import Manifest
from model_store.registry import Registry
from service.engine.budget import Asked
from service.engine.choice import SPEECH_FAMILIES
from service.engine.device import read_device
from service.engine.plan import UTTERANCE_S, Candidate, Plan, Prefer
from service.engine.planner import Planner
from service.engine.resident import read_resident
from service.settings import Settings

CLIPS = 12
REPEATS = 3
CLIENTS = 8
LOAD = 64
"""Requests of all clients together."""

WITHIN = 0.05
"""How near to the best the first choice should be."""


@dataclass(frozen=True, slots=True)
class Case:
    """A budget, and what is best under it."""

    name: str
    memory_mb: float
    cores: int
    latency_ms: float | None = None
    prefer: Prefer = "balanced"

    def asked(self) -> Asked:
        memory = int(self.memory_mb * 1e6)
        return Asked(memory_bytes=memory, cores=self.cores, latency_ms=self.latency_ms, prefer=self.prefer)


CASES = (
    Case("256 MB, 1 core", 256, 1),
    Case("512 MB, 2 cores", 512, 2),
    Case("2 GB, 2 cores, 200 ms", 2000, 2, latency_ms=200),
    Case("WER first", 8000, 2, prefer="accuracy"),
    Case("speed first", 8000, 2, prefer="speed"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a real server did: alone, one utterance of six seconds after another; then under load."""

    memory_bytes: float
    latency_ms: float
    speed: float
    loaded_bytes: float


def clips(utterances: Sequence[Utterance]) -> list[bytes]:
    """The first six seconds of recordings that are longer, as WAV."""
    return list(islice(_cut(utterances), CLIPS))


def _cut(utterances: Sequence[Utterance]) -> Iterator[bytes]:
    for u in utterances:
        if u.duration_s >= UTTERANCE_S:
            samples, rate = soundfile.read(u.path, dtype="int16")
            file = io.BytesIO()
            soundfile.write(file, samples[: int(UTTERANCE_S * rate)], rate, format="WAV")
            yield file.getvalue()


@contextmanager
def confined(cores: int) -> Iterator[None]:
    """Processes that are started within run on the first cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measured(store: Path, manifest: Manifest, cores: int, speech: list[bytes], load: list[Utterance]) -> Measured:
    with confined(cores):
        serving = ours(store, manifest, threads=cores)
        server = serving.__enter__()
    try:
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {server.key}"}, timeout=60) as http:
            seconds = [_asked(http, clip) for _ in range(REPEATS + 1) for clip in speech]
        memory = read_resident(Path(f"/proc/{server.pid}/status")).peak_bytes
        latency_ms, speed = 1e3 * quantile(seconds[len(speech) :], 0.5), asyncio.run(_under_load(server, load))
        return Measured(memory, latency_ms, speed, read_resident(Path(f"/proc/{server.pid}/status")).peak_bytes)
    finally:
        serving.__exit__(None, None, None)


def _asked(http: httpx.Client, clip: bytes) -> float:
    reply = http.post(ROUTE, data={"model": "whisper-1", "language": "en"}, files={"file": ("clip.wav", clip)})
    reply.raise_for_status()
    return reply.elapsed.total_seconds()


async def _under_load(server: Server, load: list[Utterance]) -> float:
    await warm_up(server, load)
    return summary(await closed_loop(server, iter(load), clients=CLIENTS)).rtfx


def best(case: Case, found: dict[str, Measured], candidates: Sequence[Candidate]) -> str | None:
    """By what was measured: of the variants within the limits and a point of WER, the one that is preferred."""
    within = [
        one
        for one in candidates
        if one.wer_loss is not None
        and one.wer_loss <= 1
        and found[one.name].memory_bytes <= case.memory_mb * 1e6
        and found[one.name].latency_ms <= (case.latency_ms or math.inf)
    ]
    return min(within, key=lambda one: cost(case, one, found[one.name])).name if within else None


def cost(case: Case, one: Candidate, seen: Measured) -> float:
    """What is to be small: milliseconds, seconds a second of audio, or WER."""
    return {"balanced": seen.latency_ms, "speed": 1 / seen.speed, "accuracy": one.wer or math.inf}[case.prefer]


def survey(registry: Registry, manifests: Sequence[Manifest], cores: int) -> Planner:
    """Profiles of all, for so many cores."""
    planner = Planner(registry, read_device(), Settings(store=registry.root))
    asked = Asked(cores=cores)
    surveyor = planner.surveyor(asked)
    for manifest in surveyor.lacking(manifests):
        surveyor.measure(manifest)
    return planner


def main() -> None:
    parser = options.parser(__doc__, sets=("libri_eval", "ljspeech", "misc_read"))
    parser.add_argument("--models", nargs="+", default=["whisper-tiny.en", "whisper-base", "moonshine-tiny"])
    asked = parser.parse_args()
    utterances = options.utterances(asked)
    speech, load = clips(utterances), (utterances * LOAD)[:LOAD]
    registry = Registry(asked.store)
    manifests = [m for m in registry.list() if m.family in SPEECH_FAMILIES and m.model in asked.models]
    planners = {cores: survey(registry, manifests, cores) for cores in {case.cores for case in CASES}}
    plans = {case.name: planners[case.cores].plan(manifests, case.asked()) for case in CASES}
    everything = {
        cores: {
            manifest.name: measured(asked.store, manifest, cores, speech, load)
            for manifest in report.progress(manifests, f"{cores} cores")
        }
        for cores in planners
    }
    show_all(everything)
    rows = [row(case, plans[case.name], everything[case.cores]) for case in CASES]
    told = ["alone MB", "predicted", "8 clients MB", "predicted", "6 s, ms", "predicted"]
    columns = ["", "first choice", "best measured", "worse by, %", *told]
    report.show("Budgets", columns, rows)
    report.record("budgets", utterances, measured=_plain(everything), budgets=[list(one) for one in rows])


def row(case: Case, plan: Plan, found: dict[str, Measured]) -> list[report.Cell]:
    known = {one.candidate.name: one.candidate for one in (*plan.chosen, *plan.excluded)}
    best_name = best(case, found, list(known.values()))
    if not plan.chosen or best_name is None:
        return [case.name, plan.chosen[0].name if plan.chosen else "none", best_name or "none"]
    first = plan.chosen[0]
    real = found[first.name]
    worse = cost(case, known[first.name], real) / cost(case, known[best_name], found[best_name]) - 1
    memory, latency = first.costs.memory_bytes / 1e6, first.costs.latency_ms
    told = [
        real.memory_bytes / 1e6,
        memory,
        real.loaded_bytes / 1e6,
        first.memory_bytes / 1e6,
        real.latency_ms,
        latency,
    ]
    return [case.name, first.name, best_name, 100 * worse, *told]


def show_all(everything: dict[int, dict[str, Measured]]) -> None:
    for cores, found in everything.items():
        rows = [[name, *_figures(one)] for name, one in found.items()]
        told = ["alone MB", "6 s alone, ms", "8 clients, x real time", "MB then"]
        report.show(f"Measured, {cores} cores", ["", *told], rows)


def _plain(everything: dict[int, dict[str, Measured]]) -> dict[str, dict[str, list[float]]]:
    return {
        f"{cores} cores": {name: _figures(one) for name, one in found.items()} for cores, found in everything.items()
    }


def _figures(one: Measured) -> list[float]:
    return [one.memory_bytes / 1e6, one.latency_ms, one.speed, one.loaded_bytes / 1e6]


if __name__ == "__main__":
    main()
