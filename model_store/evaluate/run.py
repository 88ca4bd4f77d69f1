"""A variant of a store and utterances in, its evaluation out, by way of a file of hypotheses.

Each variant is computed in a fresh process of its own, so that its memory and its load time are not those of another.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from model_store.evaluate import hypotheses, summary
from model_store.evaluate.errors import DataError, VariantFailed
from model_store.evaluate.hypotheses import Hypotheses, Hypothesis, Run
from model_store.evaluate.layouts import Utterance
from model_store.evaluate.messages import Done, Heard, Order, Ready, Recording
from model_store.evaluate.process import compute
from model_store.evaluate.scoring import Scored
from model_store.manifest import Evaluation, Manifest
from model_store.registry import Registry
from service import __version__
from service.engine.choice import SPEECH_FAMILIES
from service.engine.device import read_device

Report = Callable[[int, int], None]
"""Told how many recordings are done, of how many."""


def silent(_done: int, _total: int) -> None:
    """Tells nobody."""


def evaluate(
    registry: Registry,
    manifest: Manifest,
    utterances: Sequence[Utterance],
    *,
    threads: int | None = None,
    out: Path | None = None,
    report: Report = silent,
) -> tuple[Evaluation, tuple[Scored, ...]]:
    """Measures a variant of the store, which holds the speech detector as well. The manifest is left as it is.

    Args:
        registry: the store.
        manifest: the variant.
        utterances: all of languages that the variant knows, as `understood` gives them.
        threads: that compute; the cores that are there unless given.
        out: where the hypotheses are kept; in the store unless given.
        report: told how far it is.

    Raises:
        VariantFailed: it cannot be loaded, fails on a recording, or its process ended.
        StoreUnwritable: the hypotheses cannot be kept.
    """
    out = out or hypotheses.place(registry.root, manifest, utterances)
    with hypotheses.kept(out) as keep:
        computed = _computed(registry, manifest, utterances, threads=threads or read_device().cores, report=report)
        keep(computed)
    scored = summary.scores(computed)
    return summary.evaluation(computed, scored), scored


def rescore(file: Path) -> tuple[Run, Evaluation, tuple[Scored, ...]]:
    """The evaluation of hypotheses that were kept, by the rules of today.

    Raises:
        DataError: the file cannot be read.
    """
    read = hypotheses.read(file)
    scored = summary.scores(read)
    return read.run, summary.evaluation(read, scored), scored


def understood(manifest: Manifest, utterances: Sequence[Utterance], data: Path) -> tuple[Utterance, ...]:
    """The utterances in languages of the variant.

    Raises:
        VariantFailed: it writes no text.
        DataError: no utterance is left.
    """
    if manifest.family not in SPEECH_FAMILIES:
        raise VariantFailed(manifest.name, "it writes no text; take a variant of a speech model")
    kept = tuple(u for u in utterances if u.lang in manifest.languages)
    if not kept:
        known = ", ".join(manifest.languages)
        raise DataError(data, f"no recording is in a language that {manifest.name} knows ({known})")
    return kept


def _computed(
    registry: Registry, manifest: Manifest, utterances: Sequence[Utterance], *, threads: int, report: Report
) -> Hypotheses:
    recordings = tuple(Recording(path=u.path, lang=u.lang) for u in utterances)
    order = Order(store=registry.root, variant=manifest.name, threads=threads, recordings=recordings)
    # The very first start of a variant measures how to share the cores, by loading it several times over. What is
    # evaluated is every later one.
    _listened(order.model_copy(update={"recordings": ()}), silent)
    ready, heard, done = _listened(order, report)
    run = Run(
        variant=manifest.name,
        files=manifest.files,
        device=", ".join((*ready.gpus, read_device().cpu, f"{threads} thread{'s' if threads > 1 else ''}")),
        threads=threads,
        versions=versions(manifest),
        load_ms=ready.load_ms,
        peak_bytes=done.peak_bytes,
        energy_j=done.energy_j,
        date=datetime.now(UTC),
    )
    pairs = zip(utterances, heard, strict=True)
    return Hypotheses(run, tuple(Hypothesis(u, one.text, one.tokens, one.audio_s, one.seconds) for u, one in pairs))


def _listened(order: Order, report: Report) -> tuple[Ready, list[Heard], Done]:
    heard: list[Heard] = []
    ready: Ready | None = None
    report(0, len(order.recordings))
    with closing(compute(order)) as messages:
        for message in messages:
            if isinstance(message, Ready):
                ready = message
            elif isinstance(message, Heard):
                heard.append(message)
                report(len(heard), len(order.recordings))
            elif ready is not None:
                return ready, heard, message
    raise VariantFailed(order.variant, "its process was not ready when it was done")


def versions(manifest: Manifest) -> dict[str, str]:
    """Of Wren and of what computes the variant."""
    packages = dict.fromkeys((manifest.runtime, "onnxruntime", "numpy"))  # the speech detector needs onnxruntime
    return {"wren": __version__, **{name: version(name) for name in packages}}
