"""Candidates, budgets and manifests for tests of the plan: by hand, and at random from a seed."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType

from model_store.manifest import Evaluation, Manifest, Precision
from service.engine.device import Limit
from service.engine.fake import model_info
from service.engine.plan import Budget, Candidate, Costs, Prefer

MB = 10**6
NO_LIMIT = Limit(math.inf, "no limit")
COSTS = Costs(memory_bytes=200 * MB, row_bytes=5 * MB, load_ms=300, latency_ms=100, speed=120, executors=2, rows=4)
BASE = Candidate(
    name="tiny:fp32",
    model="tiny",
    variant="fp32",
    base=True,
    precision="fp32",
    runtime="onnxruntime",
    languages=("en",),
    disk_bytes=150 * MB,
    wer=5.0,
    wer_loss=0.0,
    data="libri",
    reference="tiny:fp32",
    costs=COSTS,
)


def candidate(
    name: str, *, loss: float | None = 0.0, latency_ms: float = 100, mb: int = 200, speed: float = 120
) -> Candidate:
    model, _, variant = name.partition(":")
    costs = replace(COSTS, memory_bytes=mb * MB, latency_ms=latency_ms, speed=speed)
    return replace(BASE, name=name, model=model, variant=variant, base=False, wer_loss=loss, costs=costs)


def budget(
    *,
    mb: float = math.inf,
    gpu_mb: float = 0,
    latency_ms: float = math.inf,
    loss: float = 1.0,
    prefer: Prefer = "balanced",
) -> Budget:
    return Budget(
        memory=Limit(mb * MB, "WREN_MEMORY", chosen=True),
        cores=Limit(2, "the cores that this process may run on"),
        gpu_memory=Limit(gpu_mb * MB, "WREN_GPU_MEMORY", chosen=True)
        if gpu_mb
        else Limit(0, "no NVIDIA driver is installed"),
        latency=Limit(latency_ms, "WREN_LATENCY", chosen=True),
        wer_loss=Limit(loss, "the default"),
        prefer=prefer,
    )


def drawn(
    seed: int, *, mb: tuple[int, int] = (50, 900), losses: tuple[float, ...] = (math.inf, 0.0, 1.0, 2.5)
) -> Iterator[tuple[tuple[Candidate, ...], Budget]]:
    """Twenty pairs of candidates and a budget."""
    rng = random.Random(seed)
    for _ in range(20):
        candidates = tuple(_random_candidate(rng, number) for number in range(rng.randint(0, 12)))
        limits = budget(
            mb=rng.choice([math.inf, rng.randint(*mb)]),
            gpu_mb=rng.choice([math.inf, 0, rng.randint(50, 900)]),
            latency_ms=rng.choice([math.inf, rng.randint(10, 400)]),
            loss=rng.choice(losses),
            prefer=rng.choice(["balanced", "accuracy", "speed"]),
        )
        yield candidates, limits


def _random_candidate(rng: random.Random, number: int) -> Candidate:
    costs = Costs(
        memory_bytes=rng.randint(80, 900) * MB,
        row_bytes=rng.choice([0, 1, 5, 40]) * MB,
        load_ms=rng.uniform(100, 3000),
        latency_ms=round(rng.uniform(20, 400), 1),
        speed=round(rng.uniform(20, 400), 1),
        executors=rng.choice([1, 2, 4]),
        rows=rng.choice([1, 2, 4, 8]),
        gpu_bytes=rng.choice([0, 0, rng.randint(80, 900)]) * MB,
    )
    return replace(
        candidate(f"tiny:{number}", loss=rng.choice([None, 0.0, round(rng.uniform(-0.5, 4), 2)])),
        comparable=rng.random() < 0.8,
        costs=costs if rng.random() < 0.9 else None,
        unable="needs OpenVINO" if rng.random() < 0.05 else None,
    )


def evaluated(
    name: str,
    wers: Mapping[str, float] = MappingProxyType({}),
    *,
    parent: str | None = None,
    languages: tuple[str, ...] = ("en",),
) -> Manifest:
    """A manifest with a WER by the name of the recordings."""
    model, _, variant = name.partition(":")
    precision: Precision = "int8" if variant == "int8" else "fp32"
    found = tuple(evaluation(data, wer) for data, wer in wers.items())
    return model_info(model, precision).manifest.model_copy(
        update={"variant": variant, "parent": parent, "evaluations": found, "languages": languages}
    )


def evaluation(data: str, wer: float, *, words: int = 1000, day: int = 1) -> Evaluation:
    return Evaluation(
        data=data,
        data_sha256=sha256(data.encode()).hexdigest(),
        recordings=10,
        audio_s=60,
        words=words,
        substitutions=1,
        deletions=1,
        insertions=1,
        wer=wer,
        wer_low=wer - 0.5,
        wer_high=wer + 0.5,
        cer=wer / 3,
        speed=50,
        tokens_per_s=100,
        latency_p50_ms=90,
        latency_p95_ms=200,
        load_ms=300,
        peak_bytes=200 * MB,
        device="some processor",
        threads=2,
        versions={},
        date=datetime(2026, 1, day, tzinfo=UTC),
    )
