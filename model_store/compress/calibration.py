"""Examples in; what a model's layers are multiplied with, and how far a form takes its text from float32, out."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from model_store.compress.draft import Draft, matrices
from model_store.compress.examples import Example
from model_store.compress.moments import Moments, moments
from model_store.compress.probe import Named, Probe, observed
from model_store.compress.settings import EVERY
from model_store.convert.formats import Float, Inputs, Place, TiedEmbedding
from model_store.convert.graph import FLOAT, Floats, Graph
from model_store.convert.matrix import Matrix
from model_store.convert.model import Model
from model_store.convert.parameters import Form

_SEEN = "inputs/"
"""Before a tensor's name: the output that tells what it was multiplied with."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """See `model_store.compress.context.Recordings`. The examples are found when a step first asks."""

    find: Callable[[], Sequence[Example]]
    wer_of: Callable[[Draft], float]
    threads: int = 0

    @cached_property
    def examples(self) -> Sequence[Example]:
        return self.find()

    @property
    def looked(self) -> bool:
        """Whether any step asked."""
        return "examples" in vars(self)

    def wer(self, draft: Draft) -> float:
        return self.wer_of(draft)

    def inputs(self, draft: Draft) -> dict[str, Inputs]:
        """What each matrix is multiplied with in float32, over all examples."""
        names = list(matrices(draft.model, EVERY, _Observed.places))
        form = Form(dict.fromkeys(names, _Observed()))
        seen: dict[str, _Sums] = defaultdict(_Sums)
        for name, values in observed(draft.model, form, self.examples, _SEEN, threads=self.threads):
            seen[name].add(values)
        return {name: sums.inputs() for name, sums in seen.items()}

    def moments(self, draft: Draft, names: Sequence[str]) -> dict[str, Moments]:
        return moments(draft.model, names, self.examples, threads=self.threads)

    def gradients(self, draft: Draft) -> dict[str, Floats]:
        """The root of the mean squared gradient, of the cross-entropy of the examples' texts."""
        from model_store.compress.gradients import gradients  # noqa: PLC0415 - it needs torch, which few have

        return gradients(draft.model, self.examples)

    def divergence(self, draft: Draft, forms: Sequence[Form]) -> list[float]:
        """The mean Kullback-Leibler divergence of each form's next tokens from those of float32, in nats.

        An encoder or decoder that a form leaves in float32 is not computed again.
        """
        changed = [{name for name, one in form.formats.items() if one != Float(32)} for form in forms]
        compared = (_Compared(draft.model, *pair, self.threads) for pair in zip(forms, changed, strict=True))
        return self._divergences(draft, compared)

    def departure(self, draft: Draft, others: Iterable[Draft]) -> list[float]:
        """The same of drafts with other weights, all in float32."""
        whole = draft.model.weights
        return self._divergences(
            draft,
            (
                _Compared(
                    one.model,
                    Form(),
                    {name for name, weight in one.model.weights.items() if weight is not whole.get(name)},
                    self.threads,
                )
                for one in others
            ),
        )

    def _divergences(self, draft: Draft, compared: Iterable["_Compared"]) -> list[float]:
        exact = Probe(draft.model, Form(), threads=self.threads)
        memories = [exact.encode(example) for example in self.examples]
        wanted = [_log_softmax(exact.force(*pair)["logits"]) for pair in zip(self.examples, memories, strict=True)]
        return [self._divergence(one, exact, memories, wanted) for one in compared]

    def _divergence(
        self, compared: "_Compared", exact: Probe, memories: Sequence[Named], wanted: Sequence[Floats]
    ) -> float:
        total, tokens = 0.0, 0
        for example, memory, reference in zip(self.examples, memories, wanted, strict=True):
            found = _log_softmax(compared.logits(example, memory, exact))
            total += float((np.exp(reference) * (reference - found)).sum())
            tokens += len(example.wanted)
        return total / tokens


class _Compared:
    """A model that is the exact one in all but the `changed` tensors. What is no other is not computed again."""

    def __init__(self, model: Model, form: Form, changed: set[str], threads: int) -> None:
        in_encoder = {name for name in changed if name.startswith("encoder.") or _is_cross(name)}
        probe = Probe(model, form, threads=threads)
        self._encoder = probe if in_encoder else None
        self._decoder = probe if changed - in_encoder else None

    def logits(self, example: Example, memory: Named, exact: Probe) -> Floats:
        ours = self._encoder.encode(example) if self._encoder else memory
        return (self._decoder or exact).force(example, ours)["logits"]


def _is_cross(name: str) -> bool:
    """Whether it projects the encoder's output, which the encoder's graph does."""
    return name.endswith(("encoder_attn.k_proj.weight", "encoder_attn.v_proj.weight"))


def _log_softmax(logits: Floats) -> Floats:
    one = logits.reshape(-1, logits.shape[-1])
    shifted = one - one.max(axis=1, keepdims=True)
    normal: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normal


@dataclass(slots=True)
class _Sums:
    """Statistics of a layer's input, added up over examples."""

    square: Floats | None = None
    count: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def add(self, values: Floats) -> None:
        """[in + 3]: sums of squares, then how many, the least and the most."""
        count, low, high = (float(one) for one in values[-3:])
        square = values[:-3]
        self.square = square if self.square is None else self.square + square
        self.count, self.low, self.high = self.count + count, min(self.low, low), max(self.high, high)

    def inputs(self) -> Inputs:
        if self.square is None:
            raise ValueError("nothing was seen")
        return Inputs(self.low, self.high, self.square / np.float32(self.count))


@dataclass(frozen=True, slots=True)
class _Observed:
    """Float32, and an output that tells what a matrix is multiplied with."""

    exact: Float = field(default_factory=Float)
    places: ClassVar[frozenset[Place]] = frozenset({"linear", "embedding"})
    bits_kept: ClassVar[float] = 32

    def linear(self, graph: Graph, x: str, weight: Matrix, bias: Floats | None, inputs: Inputs | None) -> str:
        _observe(graph, x, weight)
        return self.exact.linear(graph, x, weight, bias, inputs)

    def embedding(self, graph: Graph, table: Matrix, inputs: Inputs | None) -> TiedEmbedding:
        return _ObservedEmbedding(graph, table, self.exact.embedding(graph, table, inputs))

    def constant(self, graph: Graph, kernel: Matrix) -> str:
        return self.exact.constant(graph, kernel)


@dataclass(frozen=True, slots=True)
class _ObservedEmbedding:
    graph: Graph
    table: Matrix
    exact: TiedEmbedding

    def look_up(self, tokens: str) -> str:
        return self.exact.look_up(tokens)

    def logits(self, x: str) -> str:
        _observe(self.graph, x, self.table)
        return self.exact.logits(x)


def _observe(graph: Graph, x: str, weight: Matrix) -> None:
    """Adds the output [in + 3] that `_Sums.add` takes."""
    width = weight.value.shape[1]
    rows = graph.op("Reshape", x, graph.integers(-1, width))
    squares = graph.op("ReduceSum", graph.op("Mul", rows, rows), graph.integers(0), keepdims=0)
    count = graph.op("Cast", graph.op("Slice", graph.op("Shape", rows), graph.integers(0), graph.integers(1)), to=FLOAT)
    ends = [
        graph.op("Reshape", graph.op(kind, x, keepdims=0), graph.integers(1)) for kind in ("ReduceMin", "ReduceMax")
    ]
    told = graph.op("Concat", squares, count, *ends, axis=0)
    graph.output(_SEEN + weight.name, told, FLOAT, [width + 3])
