"""Out of memory passes, a broken context does not; they must not be mistaken for each other."""

import subprocess
import sys

import pytest
import torch

from explaind_worker.models.device_errors import out_of_memory, poisoned

STICKY = [
    torch.AcceleratorError("CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: misaligned address"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
]
EXHAUSTED = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] data. DefaultCPUAllocator: not enough memory: you tried"),
    MemoryError(),
]
OTHER = [
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    torch.AcceleratorError("CUDA error: invalid argument"),
    RuntimeError("CUDA error: no kernel image is available for execution on the device"),
    ValueError("device-side assert"),  # somebody's text, not the device's word
    IndexError("index out of range in self"),
]


@pytest.mark.parametrize("error", STICKY, ids=str)
def test_a_broken_context_is_recognised(error):
    assert poisoned(error)
    assert not out_of_memory(error)


@pytest.mark.parametrize("error", EXHAUSTED, ids=repr)
def test_out_of_memory_is_recognised(error):
    assert out_of_memory(error)
    assert not poisoned(error)


@pytest.mark.parametrize("error", OTHER, ids=repr)
def test_other_errors_are_neither(error):
    assert not poisoned(error)
    assert not out_of_memory(error)


def test_cudas_own_number_is_enough():
    error = torch.AcceleratorError("CUDA error: words of a later version")
    error.error_code = 719
    assert poisoned(error)
    error.error_code = 1
    assert not poisoned(error)


def test_a_broken_context_shows_through_what_was_raised_of_it():
    def wrapped():
        try:
            raise STICKY[0]
        except RuntimeError as error:
            raise KeyError("while cleaning up") from error

    with pytest.raises(KeyError) as caught:
        wrapped()
    assert poisoned(caught.value)


def test_the_cpu_allocators_own_error_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 52, dtype=torch.uint8)
    assert out_of_memory(caught.value)


def test_no_torch_is_needed_to_know_the_exception():
    modules = "explaind_worker.models.device_errors, explaind_worker.models.pool.stats"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
