"""What does every way of compressing a model save, and what does it lose?

python -m benchmarks.variants --data DIR --calibration DIR [--models NAME … --recipes NAME … --peer-python PYTHON]

Each recipe is carried out on each model, its gate open, and the variant is evaluated on the pooled sets like every
other; those that lose much stay in the table. Sizes are of all files, the tokenizer's included. --write puts the
figures where they come with Wren (model_store/evaluated.toml); give it a quiet machine.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import options, peer, report
from benchmarks.accuracy import theirs
from benchmarks.speech import POOLED, Utterance, wer
from model_store import evaluated
from model_store.compress import recipe as recipes
from model_store.compress.workshop import Material, Workshop
from model_store.errors import StoreError
from model_store.evaluate import bootstrap, datasets, hypotheses, run
from model_store.evaluate.scoring import Scored
from model_store.manifest import Evaluation, Manifest
from model_store.registry import Registry

MODELS = ("whisper-tiny.en", "whisper-base", "moonshine-tiny")
CALIBRATION = ("speeches", "fleurs", "vctk_demand", "picovoice")
"""Sets that steps look at: none of those that variants are judged by."""

PLAIN = ("import", "dequantised", "int8", "fp16-torch", "bf16-torch", "int8-torch", "int8-weights-torch")
"""Recipes of what everybody builds alike: the figures of others, made with recordings, are everybody's own."""

OPEN = math.inf
"""Points of WER that a variant may lose here."""


class Evaluations:
    """The variants of a store on the same recordings."""

    def __init__(self, registry: Registry, judged: Sequence[Utterance], *, threads: int) -> None:
        self.registry, self.judged, self.threads = registry, judged, threads
        self.scored: dict[str, tuple[Scored, ...]] = {}

    def of(self, manifest: Manifest) -> Evaluation:
        """What the workshop measured, if it was of these files; else measured now."""
        out = hypotheses.place(self.registry.root, manifest, self.judged)
        if out.exists():
            facts, found, self.scored[manifest.name] = run.rescore(out)
            if facts.files == manifest.files:
                return found
        found, self.scored[manifest.name] = run.evaluate(
            self.registry, manifest, self.judged, threads=self.threads, out=out
        )
        self.registry.record(manifest.model, manifest.variant, found, digests=manifest.digests)
        return found

    def rows(self, model: str) -> Iterator[list[report.Cell]]:
        """The base variant first, then by size."""
        manifests = sorted(self.registry.variants(model), key=lambda one: (one.parent is not None, -one.total_bytes))
        base = manifests[0]
        for manifest in manifests:
            one = self.of(manifest)
            growth = bootstrap.growth(self.scored[manifest.name], self.scored[base.name])
            share, mb = 100 * manifest.total_bytes / base.total_bytes, manifest.total_bytes / 1e6
            lost = f"{growth.points:+.2f} ({growth.low:+.2f} to {growth.high:+.2f})" if manifest is not base else ""
            costs = [one.speed, one.latency_p50_ms, one.latency_p95_ms, one.load_ms, one.peak_bytes / 1e6]
            yield [manifest.name, mb, share, one.wer, lost, one.cer, *costs]


def built(registry: Registry, asked: argparse.Namespace, material: Material) -> None:
    """Every recipe on every model; what cannot be is told, and is no row."""
    workshop = Workshop(registry, threads=asked.threads, report=lambda _: None)
    for model in asked.models:
        for name in report.progress(asked.recipes, model):
            try:
                workshop.build(model, recipes.find(name), material, max_wer_growth=OPEN)
            except StoreError as error:
                sys.stderr.write(f"{model}: {error}\n")


def main() -> None:
    parser = options.parser(__doc__, sets=POOLED)
    parser.add_argument("--calibration", type=Path, help="folder of sets that steps look at; left out, that of --data")
    parser.add_argument("--calibration-sets", nargs="+", default=list(CALIBRATION))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--recipes", nargs="*", default=list(recipes.names()), help="none: evaluate what is there")
    parser.add_argument("--write", action="store_true", help="put the figures where they come with Wren")
    peer.add_option(parser)
    asked = parser.parse_args()
    registry, utterances = Registry(asked.store), options.utterances(asked)
    folder = asked.calibration or asked.data
    seen = datasets.read(folder, sets=asked.calibration_sets, languages=("en",)) if folder else ()
    built(registry, asked, Material(seen, utterances))
    evaluations = Evaluations(registry, utterances, threads=asked.threads)
    rows = [row for model in asked.models for row in evaluations.rows(model)]
    columns = [
        "",
        "MB",
        "% of base",
        "WER",
        "over base",
        "CER",
        "x real time",
        "p50 ms",
        "p95 ms",
        "load ms",
        "peak MB",
    ]
    report.show("Variants", columns, rows)
    asked.models = [f"{model}:fp32" for model in asked.models]
    others, versions = theirs(asked, utterances)
    report.show("The peer, same weights", ["", "WER"], [[name, wer(scored)] for name, scored in others.items()])
    if asked.write:
        evaluated.write(one for one in registry.list() if one.recipe in PLAIN)
    report.record("variants", utterances, peer=versions, threads=asked.threads, columns=columns, rows=rows)


if __name__ == "__main__":
    main()
