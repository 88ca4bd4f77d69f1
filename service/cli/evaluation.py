"""`wren evaluate`: its work. Variants and recordings in, rows of figures out; manifests get what was found."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from model_store.errors import StoreError
from model_store.evaluate import datasets, hypotheses, run
from model_store.evaluate.layouts import Utterance
from model_store.manifest import Manifest
from model_store.registry import Registry
from service.cli.bar import progress_bar
from service.cli.evaluation_tables import Evaluated
from service.cli.options import complain, fail


class Evaluating:
    """One call of the command. What can be evaluated is: one variant that fails does not cost the others."""

    def __init__(self, store: Path, *, threads: int | None, out: Path | None) -> None:
        self._registry, self._threads, self._out = Registry(store), threads, out
        self.rows: list[Evaluated] = []
        self.failed = False

    def run(
        self, names: Sequence[str], data: Path, *, sets: Sequence[str], languages: Sequence[str], limit: int | None
    ) -> None:
        """Evaluates each variant on the recordings of languages it knows."""
        try:
            manifests = [manifest for name in names for manifest in self._manifests(name)]
            utterances = datasets.read(data, sets=sets, languages=languages, limit=limit)
        except StoreError as error:
            fail(str(error))
        if self._out and len(manifests) > 1:
            fail(f"--out is for one variant, and these are {len(manifests)}: leave it out.")
        for manifest in manifests:
            with self._telling():
                understood = run.understood(manifest, utterances, data)
                if len(understood) < len(utterances):
                    left_out = len(utterances) - len(understood)
                    complain(f"{manifest.name}: left out {left_out} recordings in languages that it does not know")
                self._evaluate(manifest, understood)

    def rescore(self, file: Path) -> None:
        """Scores hypotheses that were kept."""
        with self._telling():
            facts, evaluation, scored = run.rescore(file)
            size = sum(one.bytes for one in facts.files)
            self.rows.append(Evaluated(facts.variant, None, size, evaluation, scored, file))

    def _evaluate(self, manifest: Manifest, utterances: Sequence[Utterance]) -> None:
        out = self._out or hypotheses.place(self._registry.root, manifest, utterances)
        with progress_bar(manifest.name, total=len(utterances)) as advance:
            evaluation, scored = run.evaluate(
                self._registry, manifest, utterances, threads=self._threads, out=out, report=_told(advance)
            )
        parent = f"{manifest.model}:{manifest.parent}" if manifest.parent else None
        self.rows.append(Evaluated(manifest.name, parent, manifest.total_bytes, evaluation, scored, out))
        self._registry.record(manifest.model, manifest.variant, evaluation, digests=manifest.digests)

    def _manifests(self, name: str) -> tuple[Manifest, ...]:
        model, _, variant = name.partition(":")
        found = () if variant else self._registry.variants(model)
        return found or (self._registry.get(model, variant),)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """A failure is a line, and the next variant is taken."""
        try:
            yield
        except StoreError as error:
            complain(str(error))
            self.failed = True


def _told(advance: Callable[[float], None]) -> run.Report:
    return lambda done, _total: advance(done)
