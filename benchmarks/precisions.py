"""What does each precision cost and lose on this device: INT8 beside FP16 and BF16, and on a CPU beside other runtimes?

python -m benchmarks.precisions --data DIR [--models … --random small large-v3 --rows 1 8 64 --wer --limit N]

Each variant in a process of its own: bytes, memory, milliseconds of an encoding of 30 s and of decoder steps. They take
turns --repeats times, so that noise hits all alike. Weights of small's and large-v3's shape are random, for speed and
memory alone. --wer has each variant of the store hear the development sets through the engine; on a CPU --limit is
wanted with it: so many files of each.
"""

import argparse
import gc
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import options, report
from benchmarks.card import Card, card, missing
from benchmarks.costs import TOKENS, Cost, Variant, cost, middle
from benchmarks.local import there
from benchmarks.shapes import SIZES, Size, random_model, written
from benchmarks.speech import POOLED, Utterance, score, wer
from model_store.evaluate.serving import Serving
from model_store.manifest import Manifest
from model_store.registry import Registry

MODELS = ("whisper-tiny.en", "whisper-base")
TORCH = ("fp16-torch", "bf16-torch", "int8-torch", "int8-weights-torch")
OTHERS = ("fp32", "int8", "bf16-openvino")
"""The same model on a CPU's other runtimes."""

GPU_ROWS, CPU_ROWS = (1, 8, 64), (1, 8)
LIKE = "whisper-base:fp32"
"""Whose tokens and tokenizer random weights get."""


def apart(variant: Variant, rows: tuple[int, ...], *, threads: int) -> Cost:
    """In a process that has nothing else: what another left in memory is not counted."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(cost, variant, rows, threads=threads).result()


def in_turns(asked: argparse.Namespace, variants: Sequence[Variant]) -> dict[str, Cost]:
    """Medians by name."""
    found: dict[str, list[Cost]] = {one.name: [] for one in variants}
    for variant in report.progress([*variants] * asked.repeats, "taking turns"):
        found[variant.name].append(apart(variant, asked.rows, threads=asked.threads))
    return {name: middle(costs) for name, costs in found.items()}


def stored(asked: argparse.Namespace, manifests: Sequence[Manifest]) -> list[Variant]:
    registry = Registry(asked.store)
    return [Variant(one.name, registry.path(one), one.runtime, exact=one.precision == "fp32") for one in manifests]


def shaped(size: Size, like: Path, folder: Path) -> list[Variant]:
    """Random weights of one shape in all of torch's forms; the model they are made of is let go."""
    model = random_model(size, like=like)
    made = [Variant(f"{size}, random: {name}", written(model, folder / name, recipe=name), "torch") for name in TORCH]
    del model
    gc.collect()
    return made


def random_costs(asked: argparse.Namespace, like: Path) -> dict[str, Cost]:
    found: dict[str, Cost] = {}
    for size in asked.random:
        with TemporaryDirectory() as folder:
            found |= in_turns(asked, shaped(size, like, Path(folder)))
    return found


def heard(asked: argparse.Namespace, manifest: Manifest, utterances: Sequence[Utterance]) -> float:
    """WER in percent, through the engine that serves."""
    with Serving(asked.store, manifest.name, threads=asked.threads) as wren:
        todo = report.progress(utterances, manifest.name)
        return wer([score(u, wren.transcribe(u.path.read_bytes(), manifest.name, language=u.lang).text) for u in todo])


def show(found: Mapping[str, Cost], rates: Mapping[str, float], rows: tuple[int, ...], at: Card) -> None:
    columns = ["", "file MB", "weights MB", "peak MB", "encode ms", "batched", *(f"step of {n}" for n in rows)]
    table: list[list[report.Cell]] = []
    for name, one in found.items():
        times = [one.encode_ms, one.encode_batch_ms, *(one.step_ms.get(count) for count in rows)]
        table.append([name, one.file_mb, one.weights_mb, one.peak_mb, *times, one.windows_s, rates.get(name)])
    memory = "the GPU" if at.gpu else "the process"
    title = f"Windows of 30 s and {TOKENS} tokens; ms; peak memory of {memory}"
    report.show(f"{title}; on {at.title}", [*columns, "windows/s", "WER"], table)


def parsed() -> tuple[argparse.Namespace, Card]:
    """What is asked for, and the device that the rest of it depends on."""
    parser = options.parser(__doc__, sets=POOLED)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--variants", nargs="+", help=f"default: {' '.join(TORCH)}; on a CPU {' '.join(OTHERS)} too")
    parser.add_argument("--random", nargs="*", choices=list(SIZES), help="default: small large-v3; on a CPU small")
    parser.add_argument("--rows", nargs="+", type=int, help="powers of two; default: 1 8 64, on a CPU 1 8")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wer", action="store_true", help="hear the development sets too")
    options.add_device(parser)
    asked, at = parser.parse_args(), card()
    if asked.wer and not at.gpu and asked.data and asked.limit is None:
        parser.error("--wer on a CPU: say with --limit how many files of each set, or be ready to wait: --limit 1000")
    asked.variants = asked.variants or [*(() if at.gpu else OTHERS), *TORCH]
    asked.rows = tuple(asked.rows or (GPU_ROWS if at.gpu else CPU_ROWS))
    if asked.random is None:
        asked.random = (["small", "large-v3"] if at.gpu else ["small"]) if asked.data else []
    return asked, at


def main() -> None:
    asked, at = parsed()
    utterances = [u for u in options.utterances(asked) if u.lang == "en"] if asked.wer else []
    manifests, absent = there(asked.store, (f"{model}:{name}" for model in asked.models for name in asked.variants))
    costs = in_turns(asked, stored(asked, manifests))
    rates = {one.name: heard(asked, one, utterances) for one in manifests} if asked.wer else {}
    like, no_likeness = there(asked.store, [LIKE] if asked.random else [])
    for manifest in like:
        costs |= random_costs(asked, Registry(asked.store).path(manifest))
    show(costs, rates, asked.rows, at)
    missing([*absent, *no_likeness])
    report.record(
        "precisions",
        utterances,
        card=asdict(at),
        threads=asked.threads,
        repeats=asked.repeats,
        missing=absent,
        costs={name: asdict(one) for name, one in costs.items()},
        wer=rates,
    )


if __name__ == "__main__":
    main()
