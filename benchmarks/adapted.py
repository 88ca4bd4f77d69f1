"""What does Whisper lose when it is adapted to windows without 30 s of padding, and what does it save?

python -m benchmarks.adapted --data DIR [--models NAME … --change FILE]

Each model in turn: as trained with all of its padding, with the thinned padding that Wren computes otherwise, with what
it was adapted to but not adapted, adapted, and adapted in INT8. Each is evaluated as it is served, set by set; sets of
spelled words and digits are compared by characters, for their references are spelled in one way of several. "heard" are
the sounds without speech, of 40, of which something is written where speech detection is off.
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import jiwer
import numpy as np

from benchmarks import options, report
from benchmarks.speech import Utterance, wer
from model_store.compress import adapter
from model_store.compress.draft import Draft
from model_store.compress.recipe import shipped
from model_store.compress.run import compressed
from model_store.config import Padding, WhisperConfig
from model_store.convert import model as models
from model_store.evaluate import run
from model_store.evaluate.scoring import Scored, normal
from model_store.manifest import Manifest
from model_store.registry import Registry
from service.audio.types import MAX_WINDOW_S, SAMPLE_RATE, Samples, Span
from service.audio.windows import windows
from service.backends.onnx import OnnxBackend
from service.recognition import families
from service.recognition.recognizer import Recognizer
from service.recognition.types import Options

ENGLISH = ("libri_eval", "ljspeech", "speechocean762", "an4", "asterisk_en", "misc_read", "fsdd", "fsdd_strings")
"""None of those that the shipped changes were trained on, each of ten files at least."""

SPELLED = ("an4", "fsdd", "fsdd_strings")

TRAINED = Padding(dense=1500, sparse=0)


def drafts(draft: Draft, change: adapter.Change) -> Iterator[tuple[str, str, Draft]]:
    """Names, precisions and drafts."""
    adapted = adapter.adapted(draft, change)
    yield "30s", "fp32", padded(draft, TRAINED)
    yield "thinned", "fp32", draft
    yield "not-adapted", "fp32", padded(draft, change.facts.padding)
    yield "adapted", "fp32", adapted
    yield "adapted-int8", "int8", compressed(adapted, shipped("int8"))


def padded(draft: Draft, padding: Padding) -> Draft:
    config = draft.model.config
    assert isinstance(config, WhisperConfig)
    return draft.having(draft.model.weights, config.model_copy(update={"padding": padding}))


@contextmanager
def trial_store(store: Path) -> Iterator[Registry]:
    with TemporaryDirectory(prefix="wren-") as folder:
        (Path(folder) / "silero-vad").symlink_to((store / "silero-vad").absolute())
        yield Registry(Path(folder))


def added(trial: Registry, base: Manifest, name: str, precision: str, draft: Draft) -> Manifest:
    told = {"variant": name, "precision": precision, "evaluations": (), "created": datetime.now(UTC)}
    with TemporaryDirectory(dir=trial.root, prefix=".built-") as folder:
        models.write(draft.model, draft.form, Path(folder) / name)
        return trial.add(base.model_copy(update=told), Path(folder) / name)


def sounds() -> Iterator[Samples]:
    """Silence, and noise of several colours and levels, of 0.2 to 30 s."""
    random = np.random.default_rng(9)
    for seconds in (0.2, 1.0, 3.0, 8.0, 30.0):
        count = round(seconds * SAMPLE_RATE)
        yield np.zeros(count, np.float32)
        for level in (1e-3, 1e-2, 1e-1):
            white = random.standard_normal(count)
            brown = np.cumsum(white - white.mean())
            yield (level * white).clip(-1, 1).astype(np.float32)
            yield (level * brown / np.abs(brown).max()).astype(np.float32)
        yield (0.1 * np.sin(2 * np.pi * 50 * np.arange(count) / SAMPLE_RATE)).astype(np.float32)


def heard(folder: Path, threads: int) -> int:
    """The sounds without speech of which something is written."""
    recognizer = Recognizer(OnnxBackend(folder, threads=threads), families.load(folder))
    return sum(bool(_written(recognizer, one)) for one in sounds())


def _written(recognizer: Recognizer, samples: Samples) -> str:
    whole = windows(samples, (Span(0, len(samples)),), target_s=MAX_WINDOW_S, max_s=MAX_WINDOW_S)
    parts = recognizer.recognize(whole, Options())
    return "".join(segment.text for part in parts for segment in part.segments).strip()


def rate(scored: Sequence[Scored]) -> float:
    """Words, or characters where words are spelled, that are wrong, in percent."""
    if scored[0].utterance.set_name not in SPELLED:
        return wer(scored)
    pairs = [(normal(one.utterance.text, "en"), normal(one.hypothesis, "en")) for one in scored]
    references, found = ([text.replace(" ", "") for text in side] for side in zip(*pairs, strict=True))
    return 100 * float(jiwer.cer(references, found))


def by_set(scored: Sequence[Scored]) -> dict[str, list[Scored]]:
    found: dict[str, list[Scored]] = {}
    for one in scored:
        lang = one.utterance.lang
        name = one.utterance.set_name if lang == "en" else f"not English: {lang}"
        found.setdefault(name, []).append(one)
    return found


def measured(asked: argparse.Namespace, model: str, utterances: Sequence[Utterance]) -> list[list[report.Cell]]:
    registry = Registry(asked.store)
    base = registry.get(model, "fp32")
    draft = Draft(models.read(registry.path(base)))
    change = adapter.read(asked.change) if asked.change else adapter.shipped(draft.model)
    assert change is not None, f"Wren comes with no change for {model}: name one with --change"
    known = [one for one in utterances if one.lang in base.languages]
    table: dict[str, dict[str, float]] = {}
    with trial_store(asked.store) as trial:
        for name, precision, one in drafts(draft, change):
            manifest = added(trial, base, name, precision, one)
            evaluation, scored = run.evaluate(trial, manifest, known, threads=asked.threads)
            sets = by_set(scored)
            english = [found for found in scored if found.utterance.lang == "en"]
            column = {key: rate(found) for key, found in sets.items()} | {"pooled English": wer(english)}
            column |= {"heard": heard(trial.path(manifest), asked.threads)}
            column |= {"p50 ms": evaluation.latency_p50_ms, "x real time": evaluation.speed}
            table[name] = column
            shutil.rmtree(trial.path(manifest))
    return [[row, *(column[row] for column in table.values())] for row in next(iter(table.values()))]


def main() -> None:
    parser = options.parser(__doc__, sets=ENGLISH)
    parser.add_argument("--models", nargs="+", default=["whisper-tiny.en", "whisper-base"])
    parser.add_argument("--change", type=Path, help="in place of that which Wren comes with")
    asked = parser.parse_args()
    utterances = options.utterances(asked)
    columns = ["", "30 s", "thinned", "not adapted", "adapted", "adapted INT8"]
    found = {}
    for model in asked.models:
        found[model] = measured(asked, model, utterances)
        report.show(f"{model}, {len(utterances)} files", columns, found[model])
    report.record("adapted", utterances, threads=asked.threads, columns=columns, rows=found)


if __name__ == "__main__":
    main()
