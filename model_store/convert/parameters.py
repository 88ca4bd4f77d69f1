"""The parameters of a model, put into a graph each in its own form."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from model_store.convert.formats import Float, Format, Formats, Inputs, TiedEmbedding
from model_store.convert.graph import Floats, Graph
from model_store.convert.matrix import Matrix

_FULL = Float(32)


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """How the matrices of a model are kept: their forms, and what was seen to be multiplied with each."""

    formats: Formats = field(default_factory=dict)
    inputs: Mapping[str, Inputs] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """The parameters below a prefix. Names given to its methods are those below it."""

    graph: Graph
    weights: Mapping[str, Floats]
    form: Form
    prefix: str = ""

    def below(self, name: str) -> "Parameters":
        return replace(self, prefix=f"{self.prefix}{name}.")

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.weights

    def __getitem__(self, name: str) -> Floats:
        """The plain values, such as those of a bias."""
        return self.weights[self.prefix + name]

    def matrix(self, name: str) -> Matrix:
        return Matrix.stored(self.prefix + name, self[name])

    def linear(self, x: str, name: str) -> str:
        """The layer of that name, with its bias if it has one."""
        return self.product(x, self.matrix(f"{name}.weight"), self.weights.get(f"{self.prefix}{name}.bias"))

    def product(self, x: str, weight: Matrix, bias: Floats | None) -> str:
        """`x @ weight.T + bias`, in the form of the first tensor that the weight is made of."""
        return self._format(weight).linear(self.graph, x, weight, bias, self._inputs(weight))

    def embedding(self, name: str) -> TiedEmbedding:
        table = self.matrix(name)
        return self._format(table).embedding(self.graph, table, self._inputs(table))

    def constant(self, name: str) -> str:
        """A kernel or a table of positions, in float32."""
        return self.constant_of(self.matrix(name))

    def constant_of(self, kernel: Matrix) -> str:
        """What was made of a kernel, in float32."""
        return self._format(kernel).constant(self.graph, kernel)

    def _format(self, weight: Matrix) -> Format:
        return self.form.formats.get(weight.name, _FULL)

    def _inputs(self, weight: Matrix) -> Inputs | None:
        found = self.form.inputs.get(weight.name)
        return found if found is not None and len(found.mean_square) == weight.value.shape[1] else None
