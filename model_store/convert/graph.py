"""Operations in; an ONNX model out. A thin layer over `onnx.helper`: values are names, weights are arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
FLOAT16 = TensorProto.FLOAT16
INT64 = TensorProto.INT64
INT32 = TensorProto.INT32

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]
Attribute = int | float | str | Sequence[int]
Shape = Sequence[int | str]

_OPSET = 21
_IR_VERSION = 10  # what onnxruntime 1.18 and newer read


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies in a file beside the graph."""

    file: str
    offset: int
    bytes: int
    kind: int
    shape: tuple[int, ...]


class Graph:
    """A graph under construction. Every method that adds an operation returns the name of its result.

    Args:
        name: of the graph.
        stored: tensors that lie in a file beside it, by name: they are referred to, where others are written out.
    """

    def __init__(self, name: str, stored: Mapping[str, Stored] | None = None) -> None:
        self.name = name
        self.stored = stored or {}
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, kind: int, shape: Shape) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, name: str, value: str, kind: int, shape: Shape) -> None:
        """Make `value` an output called `name`."""
        if value != name:
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, kind, list(shape)))

    def constant(self, array: Array, hint: str = "constant") -> str:
        name = self._fresh(hint)
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def half(self, array: Floats, hint: str = "half") -> str:
        """A constant that is kept in 16 bits; onnxruntime widens it once, when it loads the graph."""
        return self.op("Cast", self.constant(array.astype(np.float16), hint), to=FLOAT)

    def tensor(self, name: str) -> str:
        """A stored tensor in float32, whatever it is stored in."""
        place = self.stored[name]
        if all(weight.name != name for weight in self._weights):
            proto = onnx.TensorProto(
                name=name, data_type=place.kind, dims=place.shape, data_location=TensorProto.EXTERNAL
            )
            where = {"location": place.file, "offset": str(place.offset), "length": str(place.bytes)}
            for key, value in where.items():
                proto.external_data.add(key=key, value=value)
            self._weights.append(proto)
        return name if place.kind == FLOAT else self.op("Cast", name, to=FLOAT)

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        return self.constant(np.array(value, np.int64))

    def op(self, kind: str, *inputs: str | None, domain: str = "", **attributes: Attribute) -> str:
        """One operation with one result; None leaves an optional input out."""
        return self.op_n(kind, *inputs, results=(self._fresh(kind),), domain=domain, **attributes)[0]

    def op_n(
        self, kind: str, *inputs: str | None, results: tuple[str, ...], domain: str = "", **attributes: Attribute
    ) -> tuple[str, ...]:
        """One operation with several, named results."""
        names = [name or "" for name in inputs]
        node = helper.make_node(kind, names, list(results), domain=domain)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self._nodes.append(node)
        return results

    def contrib(self, kind: str, *inputs: str | None, **attributes: Attribute) -> str:
        """One of onnxruntime's own operators (its `docs/ContribOperators.md`)."""
        return self.op(kind, *inputs, domain="com.microsoft", **attributes)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._weights)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="wren")

    def _fresh(self, hint: str) -> str:
        self._count += 1
        return f"{hint}_{self._count}"
