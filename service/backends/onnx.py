"""A variant's folder with encoder.onnx and decoder.onnx in; a backend on onnxruntime's CPU provider out.

The graphs say what they need: inputs are fed by name, layers and sizes are read off their shapes. Caches live in numpy
arrays whose memory is bound to the graph's inputs and outputs alike, so a step writes one token's keys and values and
copies nothing. A binding is made once for each shape of step and used again.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from service.backends.base import MASKED, BackendClosed, EncoderBatch, Floats, Integers, Step
from service.backends.decoding import ChoosesOnHost
from service.backends.sequences import Memory

_Array = npt.NDArray[np.generic]

UNROLLED = 4
"""Positions that onnxruntime's products add up at a time. What is left over is added in another order, and a row's text
would hang on the length of its batch: by 1e-5 in a logit, which INT8 makes 0.3 of. So none is left over."""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxMemory:
    """What cross-attention reads: k0, v0, k1, … of the decoder layers; keys [1, H, size, T], values [1, H, T, size]."""

    layers: tuple[Floats, ...]
    log_weights: Floats

    @classmethod
    def empty(cls, sizes: "Sizes", log_weights: Floats) -> "OnnxMemory":
        """For an encoder to write into."""
        length = log_weights.shape[1]
        shapes = (sizes.cross_shape(index, rows=1, length=length) for index in range(2 * sizes.layers))
        return cls(tuple(np.empty(shape, np.float32) for shape in shapes), log_weights)

    @property
    def length(self) -> int:
        return int(self.log_weights.shape[1])

    def named(self) -> Iterator[tuple[str, Floats]]:
        """The layers, as the outputs of an encoder are called."""
        return ((f"cross_{'kv'[index % 2]}_{index // 2}", array) for index, array in enumerate(self.layers))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Read off the decoder's shapes: the number of heads of each layer, the size of all of them.

    Layers may differ once they are pruned, self- and cross-attention too. So may the size of their heads: caches can be
    padded for the fused attention.
    """

    self_heads: tuple[int, ...]
    cross_heads: tuple[int, ...]
    self_size: int
    cross_size: int
    positions: int
    vocabulary: int
    alignment_heads: int

    @property
    def layers(self) -> int:
        return len(self.self_heads)

    def cross_shape(self, index: int, *, rows: int, length: int) -> tuple[int, int, int, int]:
        """Of the array with this index in a memory, in which keys and values take turns."""
        heads = self.cross_heads[index // 2]
        return (rows, heads, length, self.cross_size) if index % 2 else (rows, heads, self.cross_size, length)


class Encoder(Protocol):
    """The encoder of a variant, in this runtime or another."""

    def encode(self, row: EncoderBatch, sizes: Sizes) -> OnnxMemory:
        """The memory of a batch of one row."""
        ...


class OnnxEncoder:
    """See `Encoder`."""

    def __init__(self, path: Path, *, threads: int) -> None:
        self._session = _session(path, threads)
        self._inputs = [node.name for node in self._session.get_inputs()]

    def encode(self, row: EncoderBatch, sizes: Sizes) -> OnnxMemory:
        memory = OnnxMemory.empty(sizes, row.log_weights)
        binding = _Binding(self._session)
        for name in self._inputs:
            binding.input(name, np.ascontiguousarray(getattr(row, name)))
        for name, array in memory.named():
            binding.output(name, array)
        binding.run()
        return memory


class OnnxBackend(ChoosesOnHost):
    """See `service.backends.base.Backend`."""

    def __init__(
        self, folder: Path, *, threads: int, encoder_threads: int | None = None, encoder: Encoder | None = None
    ) -> None:
        """Load a variant.

        Args:
            folder: of the variant, with encoder.onnx and decoder.onnx.
            threads: that a decoder step may use; a step is a hundred small operations, which few threads can share.
            encoder_threads: that an encoding may use, as many as a step if left out.
            encoder: the folder's, loaded by another runtime.
        """
        encoder = encoder or OnnxEncoder(folder / "encoder.onnx", threads=encoder_threads or threads)
        decoder = _session(folder / "decoder.onnx", threads)
        self._halves: tuple[Encoder, ort.InferenceSession] | None = (encoder, decoder)
        self._sizes = _sizes(decoder)
        self._bytes = sum((folder / name).stat().st_size for name in ("encoder.onnx", "decoder.onnx"))

    @property
    def memory_bytes(self) -> int:
        """The weights; caches come with `open`."""
        return self._bytes

    @property
    def takes_samples(self) -> bool:
        return False

    @property
    def device_bytes(self) -> int:
        return 0

    @property
    def decoder_rows(self) -> int:
        """More save little on any machine that was measured, and each makes the others wait."""
        return 8

    @property
    def encoder_rows(self) -> int:
        """One: together they save nothing on a CPU (docs/benchmarks.md, "Batches"); in INT8 they would share scales."""
        return 1

    def row_bytes(self, length: int) -> int:
        sizes = self._sizes
        own = sum(sizes.self_heads) * sizes.self_size * sizes.positions
        return 4 * 2 * (own + sum(sizes.cross_heads) * sizes.cross_size * _unrolled(length))

    def encode(self, batch: EncoderBatch) -> list[OnnxMemory]:
        encoder, _ = self._loaded()
        return [encoder.encode(batch.row(index), self._sizes) for index in range(batch.rows)]

    def open(self, *, capacity: int, length: int) -> "OnnxRows":
        _, decoder = self._loaded()
        return OnnxRows(decoder, self._sizes, capacity=capacity, length=length)

    def warmup(self) -> None:
        """Run the decoder once; the encoder's input is the family's business, which warms it up with a window."""
        sizes = self._sizes
        rows = self.open(capacity=1, length=8)
        shapes = (sizes.cross_shape(index, rows=1, length=8) for index in range(2 * sizes.layers))
        layers = tuple(np.zeros(shape, np.float32) for shape in shapes)
        rows.join(OnnxMemory(layers, np.zeros((1, 8), np.float32)))
        rows.step(np.zeros((1, 1), np.int64))

    def close(self) -> None:
        # Nothing else refers to them but what is being computed, and rows: the last one to let go frees them.
        self._halves = None

    def _loaded(self) -> tuple[Encoder, ort.InferenceSession]:
        if self._halves is None:
            raise BackendClosed
        return self._halves


class OnnxRows:
    """See `service.backends.base.Rows`."""

    def __init__(self, session: ort.InferenceSession, sizes: Sizes, *, capacity: int, length: int) -> None:
        self._session, self._sizes, self._capacity, self._length = session, sizes, capacity, _unrolled(length)
        caches = ((capacity, heads, sizes.positions, sizes.self_size) for heads in sizes.self_heads)
        self._caches = tuple(_pages(cache) for cache in caches for _ in "kv")
        self._cross: tuple[Floats, ...] = ()
        self._log_weights: Floats = np.full((capacity, self._length), MASKED, np.float32)
        self._past = np.zeros(capacity, np.int64)
        self._extents = np.zeros(capacity, np.int64)
        self._count = 0
        self._adopted = False
        self._steps: dict[int, _StepBinding] = {}

    def __len__(self) -> int:
        return self._count

    def join(self, memory: Memory) -> None:
        if not isinstance(memory, OnnxMemory):
            raise TypeError(f"memory of another backend: {type(memory).__name__}")
        if self._count == self._capacity or memory.length > self._length:
            free = self._capacity - self._count
            raise ValueError(f"a row of length {memory.length} does not fit: {free} of length {self._length} are free")
        if self._capacity == 1 and memory.length == self._length:
            self._adopt(memory)
        else:
            self._copy(memory)
        self._past[self._count] = 0
        self._count += 1

    def leave(self, slot: int) -> None:
        if not 0 <= slot < self._count:
            raise IndexError(f"slot {slot} of {self._count}")
        last = self._count = self._count - 1
        if slot == last:
            self._disown()
            return
        used = self._past[last]
        for cache in self._caches:
            cache[slot, :, :used] = cache[last, :, :used]
        self._write(slot, tuple(array[last] for array in self._cross), int(self._extents[last]))
        self._log_weights[slot], self._past[slot] = self._log_weights[last], used

    def step(self, tokens: Integers, *, first: int = 0, wanted: tuple[int, ...] = (-1,)) -> Step:
        rows, count = tokens.shape
        if first + rows > self._count:
            raise IndexError(f"slots {first} to {first + rows - 1} of {self._count}")
        binding = self._binding(first, rows, count, len(wanted))
        binding.tokens[...] = tokens
        binding.wanted[...] = np.array(wanted) % count
        binding.run()
        self._past[first : first + rows] += count
        return Step(binding.logits, binding.attention)

    def _adopt(self, memory: OnnxMemory) -> None:
        """The memory fills the only slot, so no row ever moves: its arrays are read in place and nothing is copied."""
        self._cross, self._log_weights, self._adopted = memory.layers, memory.log_weights.copy(), True
        self._steps.clear()

    def _disown(self) -> None:
        """A memory that was adopted is neither written over by the next row nor kept from being freed."""
        if self._adopted:
            self._cross, self._adopted = (), False
            self._extents[:] = 0
            self._steps.clear()

    def _copy(self, memory: OnnxMemory) -> None:
        if not self._cross:
            self._cross = tuple(self._empty_cross(index) for index in range(2 * self._sizes.layers))
        slot, length = self._count, memory.length
        self._log_weights[slot] = MASKED
        self._log_weights[slot, :length] = memory.log_weights[0]
        self._write(slot, tuple(layer[0] for layer in memory.layers), length)

    def _write(self, slot: int, layers: tuple[Floats, ...], length: int) -> None:
        """Fill a slot's cross memory up to `length` and no further: pages that nobody needs are never touched.

        What lies behind a row's end is multiplied by zero, so it must be finite: what a longer row left is cleared.
        """
        before = max(length, int(self._extents[slot]))
        for index, (ours, theirs) in enumerate(zip(self._cross, layers, strict=True)):
            if index % 2 == 0:
                ours[slot, :, :, :length], ours[slot, :, :, length:before] = theirs[:, :, :length], 0
            else:
                ours[slot, :, :length], ours[slot, :, length:before] = theirs[:, :length], 0
        self._extents[slot] = length

    def _empty_cross(self, index: int) -> Floats:
        return _pages(self._sizes.cross_shape(index, rows=self._capacity, length=self._length))

    def _binding(self, first: int, rows: int, count: int, wanted: int) -> "_StepBinding":
        """Steps of all rows, a token each, come again and again; prompts differ and are bound anew each time."""
        if first or count > 1 or wanted > 1:
            return self._bound(first, rows, count, wanted)
        if rows not in self._steps:
            self._steps[rows] = self._bound(first, rows, count, wanted)
        return self._steps[rows]

    def _bound(self, first: int, rows: int, count: int, wanted: int) -> "_StepBinding":
        slots = slice(first, first + rows)
        binding = _StepBinding(self._session, self._sizes, rows, count, wanted, self._length)
        binding.input("past", self._past[slots])
        binding.input("log_weights", self._log_weights[slots])
        for index, (cache, cross) in enumerate(zip(self._caches, self._cross, strict=True)):
            name = f"{'kv'[index % 2]}_{index // 2}"
            binding.input(f"self_{name}", cache[slots])
            binding.output(f"self_{name}_out", cache[slots])
            binding.input(f"cross_{name}", cross[slots])
        return binding


class _Binding:
    """Numpy arrays bound to a session's inputs and outputs. It keeps them alive; their memory is read at every run."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._io = session.io_binding()
        self._arrays: list[_Array] = []

    def input(self, name: str, array: _Array) -> None:
        self._arrays.append(array)
        self._io.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def output(self, name: str, array: _Array) -> None:
        self._arrays.append(array)
        self._io.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def run(self) -> None:
        self._session.run_with_iobinding(self._io)


class _StepBinding(_Binding):
    """One shape of decoder step: `rows` rows of `count` tokens, logits at `wanted` of them."""

    def __init__(
        self, session: ort.InferenceSession, sizes: Sizes, rows: int, count: int, wanted: int, length: int
    ) -> None:
        super().__init__(session)
        self.tokens = np.empty((rows, count), np.int64)
        self.wanted = np.empty(wanted, np.int64)
        self.logits = np.empty((rows, wanted, sizes.vocabulary), np.float32)
        self.attention = np.empty((rows, sizes.alignment_heads, count, length), np.float32)
        self.input("tokens", self.tokens)
        self.input("wanted", self.wanted)
        self.output("logits", self.logits)
        if sizes.alignment_heads:
            self.output("attention", self.attention)


def _pages(shape: tuple[int, ...]) -> Floats:
    """Zeros in pages of their own: they cost memory once they are written, and are given back when they are freed.

    What numpy takes from the heap comes from used pages, and leaves holes there: 300 MiB after a minute of load.
    """
    pages = mmap(-1, 4 * math.prod(shape), access=ACCESS_COPY)  # private to this process
    return np.frombuffer(pages, np.float32).reshape(shape)


def _unrolled(length: int) -> int:
    return -(-length // UNROLLED) * UNROLLED


def _session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Lengths differ from call to call: patterns of memory use would be kept for each of them (onnxruntime #13500).
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False  # it would keep what the longest windows took: 70 MiB, and no faster without
    # Threads that spin while they wait take the cores from the executors beside them: a third of the throughput.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _sizes(decoder: ort.InferenceSession) -> Sizes:
    inputs = {node.name: node.shape for node in decoder.get_inputs()}
    outputs = {node.name: node.shape for node in decoder.get_outputs()}
    layers = range(sum(name.startswith("self_k_") for name in inputs))
    _, _, positions, self_size = inputs["self_k_0"]
    return Sizes(
        self_heads=tuple(inputs[f"self_k_{index}"][1] for index in layers),
        cross_heads=tuple(inputs[f"cross_k_{index}"][1] for index in layers),
        self_size=self_size,
        cross_size=inputs["cross_k_0"][2],
        positions=positions,
        vocabulary=outputs["logits"][2],
        alignment_heads=outputs["attention"][1] if "attention" in outputs else 0,
    )
