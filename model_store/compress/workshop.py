"""A recipe and a model of the store in; a variant that lost no more than is allowed, registered, out.

What is built lies in a folder of its own, laid out as a store, until it is judged: there it is evaluated like any other
variant, by the recogniser that serves.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from model_store.compress.calibration import Calibration
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.examples import Example, Spoken, examples
from model_store.compress.recipe import Recipe
from model_store.compress.run import compressed
from model_store.convert import model as models
from model_store.convert import tensors
from model_store.errors import CompressionError, ConversionError, GateClosed, RecipeError
from model_store.evaluate import bootstrap, datasets, hypotheses, run
from model_store.evaluate.bootstrap import Growth
from model_store.evaluate.layouts import Utterance
from model_store.evaluate.scoring import Scored
from model_store.manifest import Evaluation, Manifest
from model_store.registry import Registry
from model_store.train.studio import Studio, Watch

_SHARED = ("silero-vad", ".profiles")
"""What a trial store has in common with the real one: the speech detector, and what this machine was measured to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A variant as it was registered, with what it does and loses where there was something to judge it by."""

    manifest: Manifest
    evaluation: Evaluation | None
    growth: Growth | None


@dataclass(frozen=True, slots=True)
class Material:
    """Recordings: those that steps look at, those that they train on, and those with references to judge by.

    Attributes:
        folder: where what is trained is kept until it is done.
        watch: is told of every step of a training.
    """

    calibration: Sequence[Utterance] = ()
    judged: Sequence[Utterance] = ()
    training: Sequence[Utterance] = ()
    folder: Path | None = None
    watch: Watch = field(default=lambda _: None)


class Workshop:
    """Builds variants of the models in a store."""

    def __init__(self, registry: Registry, *, threads: int, report: Callable[[str], None] = lambda _: None) -> None:
        self._registry, self._threads, self._report = registry, threads, report

    def build(self, model: str, recipe: Recipe, material: Material, *, max_wer_growth: float | None = None) -> Outcome:
        """Compresses the base variant of a model, judges the outcome, and registers it.

        Args:
            model: its name in the store.
            recipe: what to do.
            material: recordings.
            max_wer_growth: points of WER, in place of what the recipe allows.

        Raises:
            NotInStore, BrokenVariant: the store has no base variant of this model that could be used.
            RecipeError: it has the name of the base variant.
            ConversionError: the base variant has no weights as trained: it was pulled by an earlier Wren.
            CompressionError: a step cannot be carried out, or there is nothing to judge by.
            GateClosed: it lost more than is allowed, and was not registered.
            EvaluationError: it cannot be run.
        """
        if find_spec(recipe.runtime) is None:
            raise CompressionError("runtime", f'it needs {recipe.runtime}: pip install "wren-asr[{recipe.runtime}]"')
        base = self._base(model)
        if recipe.name == base.variant:
            raise RecipeError(recipe.name, f"it would replace {base.name}, which it is made from; give it another name")
        allowed = max_wer_growth if max_wer_growth is not None or recipe.gate is None else recipe.gate.max_wer_growth
        if allowed is not None and not material.judged:
            raise CompressionError(
                "gate", "it judges by recordings with references: give a folder of them (--data DIR)"
            )
        with _trial_store(self._registry) as trial:
            bench = _Bench(trial, base, recipe, material, self._threads, self._report)
            source = self._registry.path(base)
            built = bench.write(compressed(Draft(models.read(source)), recipe, bench.context(source)), recipe.name)
            if not material.judged:
                return Outcome(self._registry.add(built, trial.path(built)), None, None)
            evaluation, scored = self._evaluated(trial, built, material.judged)
            growth = bootstrap.growth(scored, self._parent_scores(base, material.judged))
            if allowed is not None and growth.points > allowed:
                raise GateClosed(
                    built.name,
                    growth=growth.points,
                    between=(growth.low, growth.high),
                    allowed=allowed,
                    wer=evaluation.wer,
                    parent=base.name,
                    parent_wer=evaluation.wer - growth.points,
                )
            known = built.evaluated([evaluation])
            return Outcome(self._registry.add(known, trial.path(built)), evaluation, growth)

    def tried(self, model: str, recipe: Recipe, material: Material) -> Outcome:
        """As `build`, but that it is judged whatever it loses, and not registered.

        Raises:
            NotInStore, BrokenVariant, ConversionError, CompressionError, EvaluationError: as there.
        """
        if not material.judged:
            raise CompressionError(
                "search", "it judges by recordings with references: give a folder of them (--data DIR)"
            )
        base = self._base(model)
        with _trial_store(self._registry) as trial:
            bench = _Bench(trial, base, recipe, material, self._threads, self._report)
            source = self._registry.path(base)
            built = bench.write(compressed(Draft(models.read(source)), recipe, bench.context(source)), recipe.name)
            with TemporaryDirectory(prefix="wren-") as folder:
                out = Path(folder) / "hypotheses.jsonl"
                found, _ = run.evaluate(trial, built, material.judged, threads=self._threads, out=out)
        return Outcome(built, found, None)

    def _base(self, model: str) -> Manifest:
        bases = [manifest for manifest in self._registry.variants(model) if manifest.parent is None]
        found = bases[0] if bases else self._registry.get(model, "fp32")
        if tensors.FILE_NAME not in found.digests:
            path = self._registry.path(found) / tensors.FILE_NAME
            raise ConversionError(path, f"{model} was pulled by an earlier Wren; run: wren models pull --force {model}")
        self._registry.checked(found)
        return found

    def _evaluated(
        self, registry: Registry, manifest: Manifest, utterances: Sequence[Utterance]
    ) -> tuple[Evaluation, tuple[Scored, ...]]:
        """The hypotheses are kept in the real store, wherever the variant is."""
        self._report(f"evaluating {manifest.name} on {len(utterances)} recordings")
        out = hypotheses.place(self._registry.root, manifest, utterances)
        return run.evaluate(registry, manifest, utterances, threads=self._threads, out=out)

    def _parent_scores(self, base: Manifest, utterances: Sequence[Utterance]) -> tuple[Scored, ...]:
        """Of the base variant: those that are kept, if they are of these files and versions, else measured now."""
        kept = hypotheses.place(self._registry.root, base, utterances)
        if kept.exists():
            facts, _, scored = run.rescore(kept)
            if facts.files == base.files and facts.versions == run.versions(base):
                return scored
        evaluation, scored = self._evaluated(self._registry, base, utterances)
        self._registry.record(base.model, base.variant, evaluation, digests=base.digests)
        return scored


@dataclass(slots=True)
class _Bench:
    """Where one variant is made."""

    trial: Registry
    base: Manifest
    recipe: Recipe
    material: Material
    threads: int
    report: Callable[[str], None]
    calibration: Calibration | None = None

    def context(self, base: Path) -> Context:
        """What steps may ask for; `base` is the folder of the base variant."""
        if self.material.calibration:
            self.calibration = Calibration(lambda: self._examples(base), self.wer, self.threads)
        return Context(self.calibration, self._studio(base), self.recipe.seed, self.report)

    def _studio(self, base: Path) -> Studio | None:
        given = self.material
        if not given.training or given.folder is None:
            return None
        known = tuple(one for one in given.training if one.lang in self.base.languages)
        return Studio(base, known, given.folder, self.threads, given.watch)

    def _examples(self, base: Path) -> tuple[Example, ...]:
        spoken = [Spoken(one.path, one.lang) for one in self.material.calibration]
        seen = examples(base, spoken, most=self.recipe.calibration.recordings, threads=self.threads)
        if not seen:
            raise CompressionError("calibration", f"nothing is said in a language that {self.base.model} knows")
        return seen

    def wer(self, draft: Draft) -> float:
        """Of a draft, on the recordings that steps look at, as far as they have references."""
        known = [one for one in self.material.calibration if one.lang in self.base.languages]
        spoken = [one for one in known if datasets.referenced(one)]
        if not spoken:
            raise CompressionError("calibration", "to measure WER, recordings with references are needed")
        evaluation, _ = run.evaluate(self.trial, self.write(draft, "draft"), spoken, threads=self.threads)
        self.report(f"WER {evaluation.wer:.2f} %")
        return evaluation.wer

    def write(self, draft: Draft, variant: str) -> Manifest:
        """The draft as a variant of the trial store."""
        manifest = self.base.model_copy(
            update={
                "variant": variant,
                "precision": self.recipe.precision,
                "runtime": self.recipe.runtime,
                "parent": self.base.variant,
                "recipe": self.recipe.name,
                "recipe_sha256": self.recipe.sha256,
                "calibrated_on": self._calibrated_on() or self._trained_on(),
                "evaluations": (),
                "created": datetime.now(UTC),
            }
        )
        with TemporaryDirectory(dir=self.trial.root, prefix=".built-") as folder:
            models.write(draft.model, draft.form, Path(folder) / variant, runtime=self.recipe.runtime)
            return self.trial.add(manifest, Path(folder) / variant)

    def _trained_on(self) -> str | None:
        seen = self.material.training
        return f"{datasets.title(seen)} (sha256 {datasets.digest(seen)[:16]})" if seen else None

    def _calibrated_on(self) -> str | None:
        """Nothing where no step looked."""
        if self.calibration is None or not self.calibration.looked:
            return None
        seen = self.material.calibration
        return f"{datasets.title(seen)} (sha256 {datasets.digest(seen)[:16]}), {len(self.calibration.examples)} windows"


@contextmanager
def _trial_store(registry: Registry) -> Iterator[Registry]:
    """An empty store, with what variants need besides themselves; it is gone afterwards."""
    with TemporaryDirectory(prefix="wren-") as folder:
        for name in _SHARED:
            if (registry.root / name).exists():
                (Path(folder) / name).symlink_to(registry.root / name)
        yield Registry(Path(folder))
