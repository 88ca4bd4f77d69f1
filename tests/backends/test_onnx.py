import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import numpy.typing as npt
import pytest

from service.audio.types import Samples
from service.backends.base import BackendClosed, Floats
from service.backends.fake import FakeMemory, Line
from service.backends.onnx import OnnxBackend, OnnxMemory, OnnxRows
from service.backends.sequences import Job
from service.recognition.decoding import decode
from service.recognition.types import Options
from tests.recognition.models import TINY, VARIANTS, backend, batch_of, clips, whisper
from tests.store import folder

START = (50_257, 50_362)
FED = (383, 2068, 7586, 21_831, 18_045, 625, 262, 16_931, 3290)
"""The quick brown fox jumps over the lazy dog."""


def encode(variant: str, row: int) -> OnnxMemory:
    (memory,) = backend(TINY, variant).encode(batch_of(whisper(), clips()[row]))
    return memory


def memories(variant: str) -> list[OnnxMemory]:
    return [encode(variant, row) for row in range(len(clips()))]


def log_probabilities(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float32)


def fed(variant: str, given: list[OnnxMemory], *, leaving: npt.NDArray[np.int64] | None = None) -> list[list[Floats]]:
    """Log-probabilities of each row and step: all are fed the same, in shared steps; row i leaves before leaving[i]."""
    rows = backend(TINY, variant).open(capacity=len(given), length=max(memory.length for memory in given))
    for memory in given:
        rows.join(memory)
    slots = list(range(len(given)))
    found: list[list[Floats]] = [[] for _ in given]
    for step, tokens in enumerate([START, *((token,) for token in FED)]):
        for row in [] if leaving is None else np.flatnonzero(leaving == step).tolist():
            slot = slots.index(row)
            rows.leave(slot)
            slots[slot] = slots[-1]
            slots.pop()
        assert len(rows) == len(slots)
        logits = rows.step(np.tile(tokens, (len(slots), 1))).logits
        for slot, row in enumerate(slots):
            found[row].append(log_probabilities(logits[slot, 0]))
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_row_of_a_batch_is_the_row_alone(variant: str) -> None:
    given = memories(variant)
    for row, together in enumerate(fed(variant, given)):
        np.testing.assert_allclose(together, fed(variant, [given[row]])[0], atol=2e-4)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", range(2))
def test_rows_that_leave_do_not_disturb_the_others(seed: int, variant: str) -> None:
    given = memories(variant)
    leaving = np.random.default_rng(seed).permutation(len(given)) + 2
    leaving[leaving == leaving.max()] = 99
    for row, together in enumerate(fed(variant, given, leaving=leaving)):
        (alone,) = fed(variant, [given[row]])
        assert len(together) == min(leaving[row], len(alone))
        np.testing.assert_allclose(together, alone[: len(together)], atol=2e-4)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("behind", [1, 133])
def test_a_row_is_the_same_in_a_longer_batch(behind: int, variant: str) -> None:
    """Of any four lengths in a row: a product of sums that come in fours could round the last of them another way."""
    for memory in (shortened(encode(variant, 1), cut) for cut in range(4)):
        found = []
        for length in (memory.length, memory.length + behind):
            rows = backend(TINY, variant).open(capacity=1, length=length)
            rows.join(memory)
            found.append([rows.step(np.array([tokens])).logits.copy() for tokens in (START, FED[:1], FED[1:2])])
        np.testing.assert_allclose(np.concatenate(found[0], 1), np.concatenate(found[1], 1), atol=2e-4)


def shortened(memory: OnnxMemory, cut: int) -> OnnxMemory:
    """The memory without its last positions."""
    length = memory.length - cut
    layers = tuple(
        np.ascontiguousarray(layer[..., :length] if index % 2 == 0 else layer[:, :, :length])
        for index, layer in enumerate(memory.layers)
    )
    return OnnxMemory(layers, np.ascontiguousarray(memory.log_weights[:, :length]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_row_may_take_a_place_that_got_free(variant: str) -> None:
    first, second, third = memories(variant)[:3]
    rows = backend(TINY, variant).open(capacity=2, length=max(first.length, second.length, third.length))
    for memory in (first, second):
        rows.join(memory)
    rows.step(np.tile(START, (2, 1)))
    rows.step(np.full((2, 1), FED[0]))
    rows.leave(0)
    rows.join(third)
    joined = rows.step(np.array([START]), first=1).logits[0, 0].copy()
    np.testing.assert_allclose(log_probabilities(joined), fed(variant, [third])[0][0], atol=2e-4)
    together = rows.step(np.array([[FED[1]], [FED[0]]])).logits[:, 0]
    np.testing.assert_allclose(log_probabilities(together[0]), fed(variant, [second])[0][2], atol=2e-4)
    np.testing.assert_allclose(log_probabilities(together[1]), fed(variant, [third])[0][1], atol=2e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_memory_can_be_decoded_again(variant: str) -> None:
    memory = encode(variant, 2)
    before = [layer.copy() for layer in (*memory.layers, memory.log_weights)]
    for capacity in (1, 3):
        rows = backend(TINY, variant).open(capacity=capacity, length=memory.length)
        for _ in range(capacity):
            rows.join(memory)
        rows.step(np.tile(START, (capacity, 1)))
        rows.step(np.full((capacity, 1), FED[0]))
        rows.leave(0)
    for ours, theirs in zip((*memory.layers, memory.log_weights), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_row_that_follows_leaves_the_memory_of_the_first_alone() -> None:
    """A memory that fills the only slot is read in place: nothing may be written there."""
    (first,) = backend(TINY, "fp32").encode(batch_of(whisper(), clips()[0], full=True))
    before = [layer.copy() for layer in first.layers]
    rows = backend(TINY, "fp32").open(capacity=1, length=first.length)
    found = []
    for memory in (first, encode("fp32", 1), first):
        rows.join(memory)
        found.append(rows.step(np.array([START])).logits[0, 0].copy())
        rows.leave(0)
    for ours, theirs in zip(first.layers, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_allclose(log_probabilities(found[1]), fed("fp32", [encode("fp32", 1)])[0][0], atol=2e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_padded_batch_is_encoded_as_its_rows_alone(variant: str) -> None:
    together = backend(TINY, variant).encode(batch_of(whisper(), *clips()))
    for row, ours in enumerate(together):
        theirs = encode(variant, row)
        assert ours.length == theirs.length
        for layer, alone in zip((*ours.layers, ours.log_weights), (*theirs.layers, theirs.log_weights), strict=True):
            np.testing.assert_array_equal(layer, alone)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_prompt_at_once_is_the_prompt_token_by_token(variant: str) -> None:
    """To the rounding of INT8: products of many tokens are added up in another order than those of one."""
    memory = encode(variant, 2)
    tokens = (*START, *FED)
    runs = []
    for parts in ([tokens], [[token] for token in tokens]):
        rows = backend(TINY, variant).open(capacity=1, length=memory.length)
        rows.join(memory)
        steps = [rows.step(np.array([part])).logits[0, -1].copy() for part in parts]
        runs.append(log_probabilities(steps[-1]))
    difference = np.abs(runs[0] - runs[1])
    assert difference.max() < 2e-4 if variant == "fp32" else difference.mean() < 0.1


def test_logits_are_given_where_they_are_wanted() -> None:
    memory = encode("fp32", 2)
    logits = []
    for wanted in ((0, -1), (1,), (-1,)):
        rows = backend(TINY, "fp32").open(capacity=1, length=memory.length)
        rows.join(memory)
        logits.append(rows.step(np.array([START]), wanted=wanted).logits[0].copy())
    assert [len(given) for given in logits] == [2, 1, 1]
    np.testing.assert_allclose(logits[0][1], logits[1][0], atol=2e-4)
    np.testing.assert_allclose(logits[1], logits[2], atol=2e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_attention_is_a_distribution_over_what_is_there(variant: str) -> None:
    short, long = encode(variant, 1), encode(variant, 4)
    rows = backend(TINY, variant).open(capacity=2, length=long.length)
    rows.join(short)
    rows.join(long)
    attention = rows.step(np.tile(START, (2, 1))).attention
    assert attention.shape[0] == 2
    np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-4)
    assert attention[0, :, :, short.length :].max() == 0


def test_rows_that_do_not_fit_are_refused() -> None:
    short, long = encode("fp32", 1), encode("fp32", 4)
    rows = backend(TINY, "fp32").open(capacity=1, length=short.length)
    with pytest.raises(ValueError, match=r"a row of length \d+ does not fit: 1 of length \d+ are free"):
        rows.join(long)
    rows.join(short)
    with pytest.raises(ValueError, match=r"does not fit: 0 of length"):
        rows.join(short)
    with pytest.raises(TypeError, match="FakeMemory"):
        rows.join(FakeMemory(Line(()), 1))


def test_slots_that_are_empty_are_refused() -> None:
    short = encode("fp32", 1)
    rows = backend(TINY, "fp32").open(capacity=3, length=short.length)
    rows.join(short)
    rows.join(short)
    rows.step(np.tile(START, (2, 1)))
    rows.leave(1)
    with pytest.raises(IndexError, match="slots 0 to 1 of 1"):
        rows.step(np.tile(START, (2, 1)))
    with pytest.raises(IndexError, match="slot 1 of 1"):
        rows.leave(1)


def addresses(rows: OnnxRows) -> list[int]:
    arrays: list[npt.NDArray[np.generic]] = [*rows._caches, *rows._cross, rows._log_weights, rows._past]
    return [array.ctypes.data for array in arrays]


def test_arrays_stay_where_they_are_while_rows_come_and_go() -> None:
    given = memories("int8")[:4]
    rows = backend(TINY, "int8").open(capacity=3, length=max(memory.length for memory in given))
    rows.join(given[0])
    first = addresses(rows)
    rows.step(np.array([START]))
    for memory in given[1:3]:
        rows.join(memory)
        rows.step(np.array([START]), first=len(rows) - 1)
        rows.step(np.full((len(rows), 1), FED[0]))
    rows.leave(0)
    rows.join(given[3])
    rows.step(np.array([START]), first=2)
    outcomes = [rows.step(np.full((3, 1), token)) for token in FED[:3]]
    assert addresses(rows) == first
    assert len({outcome.logits.ctypes.data for outcome in outcomes}) == 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_writes_its_token_and_copies_no_cache(variant: str) -> None:
    memory = encode(variant, 1)
    rows = backend(TINY, variant).open(capacity=4, length=memory.length)
    for _ in range(4):
        rows.join(memory)
    for tokens in (START, FED[:1], FED[1:2]):
        rows.step(np.tile(tokens, (4, 1)))
    before = [cache.copy() for cache in rows._caches]
    allocated, past = allocated_by(lambda: rows.step(np.full((4, 1), FED[2]))), len(START) + 2
    assert allocated < before[0][0].nbytes / 10
    for ours, theirs in zip(rows._caches, before, strict=True):
        # Bytes are compared: what has never been written may be anything.
        changed = (ours.view(np.int32) != theirs.view(np.int32)).any(axis=(0, 1, 3))
        assert np.flatnonzero(changed).tolist() == [past]


def allocated_by(call: Callable[[], object]) -> int:
    """The most bytes that Python and numpy held at once for a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def told(variant: str, windows: Sequence[Samples]) -> list[tuple[list[Floats], tuple[int, ...], tuple[float, ...]]]:
    """The memory, tokens and log-probabilities of each window, encoded one by one and decoded together."""
    found = [backend(TINY, variant).encode(batch_of(whisper(), samples))[0] for samples in windows]
    prompt = whisper().prompt(Options(), task="transcribe", language="en")
    said = decode(backend(TINY, variant), whisper(), [Job(memory, prompt, 12) for memory in found])
    return [(list(memory.layers), one.tokens, one.logprobs) for memory, one in zip(found, said, strict=True)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_threads_that_share_a_backend_do_not_disturb_each_other(variant: str) -> None:
    shares = [clips()[:3], clips()[3:]]
    together = Barrier(len(shares), timeout=30)

    def work(share: Sequence[Samples]) -> list[tuple[list[Floats], tuple[int, ...], tuple[float, ...]]]:
        together.wait()
        return [one for _ in range(2) for one in told(variant, share)]

    with ThreadPoolExecutor(len(shares)) as threads:
        found = list(threads.map(work, shares))
    for share, outcomes in zip(shares, found, strict=True):
        for ours, theirs in zip(outcomes, told(variant, share) * 2, strict=True):
            assert ours[1:] == theirs[1:]
            for layer, single in zip(ours[0], theirs[0], strict=True):
                np.testing.assert_array_equal(layer, single)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_loaded_warmed_up_and_closed(variant: str) -> None:
    path = folder(TINY, variant)
    one = OnnxBackend(path, threads=1)
    one.warmup()
    assert one.memory_bytes == sum((path / name).stat().st_size for name in ("encoder.onnx", "decoder.onnx"))
    one.close()


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx"])
def test_a_damaged_graph_cannot_be_loaded(tmp_path: Path, name: str) -> None:
    for path in folder(TINY, "int8").iterdir():
        (tmp_path / path.name).symlink_to(path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(Exception, match=name):
        OnnxBackend(tmp_path, threads=1)


def test_what_was_closed_says_so_and_what_was_open_is_computed_to_its_end() -> None:
    backend = OnnxBackend(folder(TINY, "int8"), threads=1)
    (memory,) = backend.encode(batch_of(whisper(), clips()[0]))
    rows = backend.open(capacity=1, length=memory.length)
    rows.join(memory)
    backend.close()
    backend.close()
    assert np.isfinite(rows.step(np.array([START])).logits).all()
    with pytest.raises(BackendClosed, match="its backend was closed"):
        backend.encode(batch_of(whisper(), clips()[0]))
    with pytest.raises(BackendClosed):
        backend.open(capacity=1, length=8)
