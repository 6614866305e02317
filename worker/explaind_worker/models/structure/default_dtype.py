"""torch's default dtype, which belongs to the whole process: who sets it, or needs it, holds this lock."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

DEFAULT_DTYPE = threading.RLock()


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Within this context tensors without a dtype are float32, whatever another thread is loading.

    For libraries that name no dtype. Our own code names one wherever it makes a tensor of floats.
    """
    with DEFAULT_DTYPE:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
