"""Classifies device failures: out of memory, which is temporary, and a broken context, which is not.

Imports no torch: the worker's process imports this before torch is loaded.
"""

import gc
import sys
from collections.abc import Iterator

from explaind_worker.stops import Stop

EXIT_POISONED = 76

# CUDA's sticky errors: after one of them every later call in the process fails with the same error.
STICKY_CODES = frozenset({214, 220, 700, 702, 710, 714, 715, 716, 717, 718, 719, 999})
STICKY_WORDS = (
    "device-side assert",
    "illegal memory access",
    "illegal instruction",
    "unspecified launch failure",
    "launch timed out",
    "misaligned address",
    "hardware stack error",
    "invalid program counter",
    "operation not supported on global/shared address space",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "cuda error: unknown error",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
    "cublas_status_mapping_error",
    "cublas_status_not_initialized",
    "cudnn_status_execution_failed",
    "cudnn_status_internal_error",
    "cudnn_status_mapping_error",
)
MEMORY_WORDS = (
    "cuda out of memory",
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "defaultcpuallocator: can't allocate memory",
    "defaultcpuallocator: not enough memory",
)


class DevicePoisoned(Stop):
    """The device's context is broken: results computed in this process are invalid, and the process must end."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on any device; a smaller one may still succeed."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _says(error, MEMORY_WORDS)


def poisoned(error: BaseException) -> bool:
    """Whether the error, or one in its chain, says that the device's context is broken."""
    return any(_is_sticky(cause) for cause in _causes(error))


def release_memory() -> None:
    """Frees unreferenced memory; call it outside of `except`, whose traceback keeps references."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _is_sticky(error: BaseException) -> bool:
    if not isinstance(error, RuntimeError) or out_of_memory(error):
        return False
    return getattr(error, "error_code", None) in STICKY_CODES or _says(error, STICKY_WORDS)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    message = str(error).lower()
    return any(word in message for word in words)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and those in its chain, as in a traceback."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
