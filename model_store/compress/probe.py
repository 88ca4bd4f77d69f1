"""A model in some form on onnxruntime, held to given texts: logits out, and whatever else its graphs give."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from model_store.compress.examples import Example
from model_store.convert.graph import Floats
from model_store.convert.model import Model, graphs
from model_store.convert.parameters import Form

_Array = npt.NDArray[np.generic]
Named = Mapping[str, Floats]
Told = tuple[str, Floats]


class Probe:
    """The graphs of a model, held in memory."""

    def __init__(self, model: Model, form: Form, *, threads: int = 0) -> None:
        self._graphs, self._threads = graphs(model, form), threads

    @cached_property
    def encoder(self) -> ort.InferenceSession:
        return self._session(self._graphs.encoder)

    @cached_property
    def decoder(self) -> ort.InferenceSession:
        return self._session(self._graphs.decoder)

    def encode(self, example: Example) -> Named:
        """All outputs of the encoder, by name."""
        features = example.features
        given: dict[str, _Array] = {
            "features": features.values[None],
            "frames": features.frames[None],
            "positions": features.positions[None],
            "log_weights": features.log_weights[None],
        }
        return _run(self.encoder, given, [one.name for one in self.encoder.get_outputs()])

    def force(self, example: Example, memory: Named, outputs: Sequence[str] = ("logits",)) -> Named:
        """The decoder's outputs over the whole text at once, by name: logits [wanted, vocabulary] and others."""
        given: dict[str, _Array] = {
            "tokens": np.array([example.tokens[:-1]], np.int64),
            "past": np.zeros(1, np.int64),
            "wanted": np.array(example.wanted, np.int64),
            "log_weights": example.features.log_weights[None],
            **memory,
        }
        for one in self.decoder.get_inputs():
            if one.name.startswith("self_"):
                given[one.name] = np.zeros((1, *one.shape[1:]), np.float32)
        return _run(self.decoder, given, list(outputs))

    def _session(self, model: onnx.ModelProto) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def observed(model: Model, form: Form, examples: Sequence[Example], prefix: str, *, threads: int) -> Iterator[Told]:
    """What graphs with such forms tell of each example: the outputs whose names begin so, each less that prefix."""
    probe = Probe(model, form, threads=threads)
    outputs = [one.name for one in probe.decoder.get_outputs() if one.name.startswith(prefix)]
    for example in examples:
        memory = probe.encode(example)
        forced = probe.force(example, memory, outputs) if outputs else {}
        for name, told in {**memory, **forced}.items():
            if name.startswith(prefix):
                yield name.removeprefix(prefix), told


def _run(session: ort.InferenceSession, given: Mapping[str, _Array], outputs: list[str]) -> Named:
    taken = {one.name for one in session.get_inputs()}
    found = session.run(outputs, {name: array for name, array in given.items() if name in taken})
    return dict(zip(outputs, found, strict=True))
