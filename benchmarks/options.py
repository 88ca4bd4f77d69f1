"""The options that benchmarks share, and the utterances they mean."""

import argparse
import os
from pathlib import Path

from benchmarks.speech import LONG, PACKAGED, POOLED, Utterance, load

MODELS = ("whisper-tiny.en:fp32", "whisper-tiny.en:int8")


def parser(description: str | None, *, sets: tuple[str, ...] = (*POOLED, LONG)) -> argparse.ArgumentParser:
    """With --data, --sets, --languages, --limit, --store and --threads."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("WREN_BENCH_DATA")
    made.add_argument(
        "--data",
        type=Path,
        default=Path(data) if data else None,
        help="folder of sets [WREN_BENCH_DATA, else the recordings of pytest-audioeval]",
    )
    made.add_argument("--sets", nargs="+", default=list(sets), help=f"default: {' '.join(sets)}")
    made.add_argument("--languages", nargs="+", default=[], help="codes of those to keep; left out, all")
    made.add_argument("--limit", type=int, help="so many files of each set, to try out a benchmark")
    made.add_argument("--store", type=Path, default=Path(os.environ.get("WREN_STORE", ".store")))
    made.add_argument("--threads", type=int, default=2)
    return made


def utterances(asked: argparse.Namespace) -> list[Utterance]:
    sets = asked.sets if asked.data else [PACKAGED]
    found = load(asked.data, sets, languages=asked.languages)
    if asked.limit is None:
        return found
    return [u for name in sets for u in [u for u in found if u.set_name == name][: asked.limit]]


def size(asked: argparse.Namespace, given: float | None, *, full: float, trial: float) -> float:
    """What was given; else the full size, or without --data one that only shows that it works."""
    if given is not None:
        return given
    return full if asked.data else trial


def add_device(parser: argparse.ArgumentParser) -> None:
    """What torch computes on. It is put where servers, engines and processes that are started find it."""
    parser.add_argument("--device", type=_device, help="as WREN_DEVICE, which it stands for [auto]")


def _device(name: str) -> str:
    os.environ["WREN_DEVICE"] = name
    return name
