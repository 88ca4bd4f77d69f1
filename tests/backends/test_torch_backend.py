"""A variant on torch behind the seam: what it hears, who computes where, and that it is gone when it is closed."""

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from service.backends.base import BackendClosed, EncoderBatch
from service.backends.sequences import Hypothesis, Job, Memory
from service.backends.torch.backend import TorchBackend
from service.recognition.families import load
from service.recognition.recognizer import Recognizer
from service.recognition.types import Options
from tests.recognition.models import BASE, TINY, backend, clips, recognizer, said, whisper
from tests.store import folder
from tests.torch_variants import CPU, torch_backend, torch_folder


def loaded(*, replicas: int = 1, threads: int = 1, encoder_threads: int | None = None) -> TorchBackend:
    made = torch_folder(TINY, "int8-torch")
    return TorchBackend(made, devices=(CPU,) * replicas, threads=threads, encoder_threads=encoder_threads)


def batch() -> EncoderBatch:
    return EncoderBatch.of([whisper().features(clips()[0], full=False, waveform=True)])


def job(memory: Memory) -> Job:
    return Job(memory, whisper().prompt(Options(), task="transcribe", language="en"), 40)


def decoded(one: TorchBackend, memory: Memory) -> Hypothesis:
    rows = one.sequences(whisper(), capacity=2, length=memory.length)
    ended = rows.join([job(memory)])
    while len(rows):
        ended += rows.step()
    assert isinstance(ended[0].result, Hypothesis)
    return ended[0].result


def elsewhere(compute: Callable[[], object]) -> object:
    """In a thread of its own, which is gone then."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(compute).result()


@pytest.mark.parametrize("model", [TINY, BASE])
def test_in_float32_it_hears_what_onnxruntime_hears(model: str) -> None:
    ours = Recognizer(torch_backend(model, "fp32-torch"), whisper(model))
    for clip in clips():
        options = Options(language="en", word_times=True)
        assert said(ours, clip, options=options) == said(recognizer(model, "fp32"), clip, options=options)


@pytest.mark.parametrize("variant", ["fp16-torch", "bf16-torch", "int8-torch", "int8-weights-torch"])
@pytest.mark.parametrize("model", [TINY, "moonshine-tiny"])
def test_every_precision_hears(model: str, variant: str) -> None:
    family = load(folder(model, "int8"))
    ours = Recognizer(torch_backend(model, variant), family)
    theirs = Recognizer(backend(model, "fp32"), family)
    assert said(ours, clips()[2]) == said(theirs, clips()[2])


def test_each_thread_has_a_device_of_its_own() -> None:
    one, ready, networks = loaded(replicas=2), threading.Barrier(2), set[int]()

    def compute() -> None:
        networks.add(id(one.sequences(whisper(), capacity=1, length=64)._network))
        ready.wait(10)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: compute(), range(2)))
    assert len(networks) == 2


def test_the_device_of_a_thread_that_ended_is_free() -> None:
    one = loaded(replicas=2)
    first = one._network()
    assert {id(elsewhere(one._network)) for _ in range(3)} == {id(other.network) for other in one._seats or ()} - {
        id(first)
    }


def test_a_memory_may_be_decoded_on_another_device() -> None:
    one = loaded(replicas=2)
    (memory,) = one.encode(batch())
    here = decoded(one, memory)
    there = elsewhere(lambda: decoded(one, memory))
    assert isinstance(there, Hypothesis)
    assert there.tokens == here.tokens
    assert there.logprobs == here.logprobs


def test_threads_are_those_of_who_computes() -> None:
    before = torch.get_num_threads()

    def compute() -> int:
        one = loaded(threads=1, encoder_threads=2)
        (memory,) = one.encode(batch())
        decoded(one, memory)
        return torch.get_num_threads()

    assert elsewhere(compute) == 1
    assert torch.get_num_threads() == before


def test_closed_it_computes_nothing_and_its_weights_are_gone() -> None:
    one = loaded()
    (memory,) = one.encode(batch())
    rows = one.sequences(whisper(), capacity=1, length=memory.length)
    rows.join([job(memory)])
    weights = weakref.ref(one._network())
    one.close()
    one.close()
    rows.step()  # what is being computed goes on
    for refused in (lambda: one.encode(batch()), lambda: one.sequences(whisper(), capacity=1, length=64)):
        with pytest.raises(BackendClosed):
            refused()
    del rows
    gc.collect()
    assert weights() is None


def test_a_row_takes_what_it_says() -> None:
    one = loaded()
    rows = one.sequences(whisper(), capacity=3, length=640)
    caches, cross, log_weights = rows._slots.rows(0, 3)
    tensors = (*caches.keys, *caches.values, *cross.keys, *cross.values)
    assert sum(tensor.nbytes for tensor in tensors) == 3 * one.row_bytes(640)
    assert log_weights.shape == (3, 640)
