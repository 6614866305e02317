"""Lock of torch's process-wide default dtype, held by code that sets it or relies on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

DEFAULT_DTYPE = threading.RLock()


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Context in which tensors without a dtype are float32, whatever another thread is loading.

    For libraries that omit the dtype. Our own code always passes one when creating float tensors.
    """
    with DEFAULT_DTYPE:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
