import errno

import numpy as np
import pytest
import torch

from service.engine.exhaustion import ran_out
from service.errors import ModelUnavailable


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("anything"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OutOfMemoryError("anything"),
        # onnxruntime 1.32 and OpenVINO 2026.4 in a process whose address space was limited
        RuntimeError(
            "Error in execution: Non-zero status code returned while running MatMul node. Name:'' "
            "Status Message: std::bad_alloc"
        ),
        Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: std::bad_alloc"),
        RuntimeError("Exception from src/inference/src/dev/plugin.cpp:59:\ncan't alloc\n\n"),
        # torch 2.13
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
            "allocate 4398046511104 bytes. Error code 12 (Cannot allocate memory)"
        ),
        # as their sources and users have them
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:80] DefaultCPUAllocator: not enough memory: you tried to allocate"
        ),
        RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 1073741824"),
        RuntimeError("CUDA failure 2: out of memory ; GPU=0"),
        RuntimeError("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED"),
    ],
)
def test_want_of_memory_is_seen_whoever_tells_it(error: Exception) -> None:
    assert ran_out(error)


def test_numpy_s_own_error_is_one() -> None:
    with pytest.raises(MemoryError) as found:
        np.empty(2**60, np.uint8)
    assert ran_out(found.value)


def test_torch_s_own_errors_are() -> None:
    with pytest.raises(RuntimeError) as found:
        torch.empty(2**55, dtype=torch.uint8)
    assert ran_out(found.value)
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))


def test_what_an_error_was_raised_from_counts() -> None:
    error = ModelUnavailable("tiny:fp32", "it is too large")
    assert not ran_out(error)
    error.__cause__ = MemoryError()
    assert ran_out(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Non-zero status code returned while running Reshape node"),
        ValueError("a row of length 700 does not fit: 0 of length 640 are free"),
        OSError(errno.ENOENT, "No such file: out of memory.onnx"),
        FileNotFoundError("bad_alloc"),
    ],
)
def test_other_errors_are_not(error: Exception) -> None:
    assert not ran_out(error)
