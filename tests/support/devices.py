"""Parameters of tests that run on a CPU in the ordinary suite, and on a GPU, with more of them, by `pytest -m gpu`."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch

CPU, CUDA = "cpu", "cuda:0"


def on_both(cuda: Iterable[Any], *, cpu: Iterable[Any] = ()) -> list[Any]:
    """Parameters (device, *case): those of `cpu` without a mark, those of `cuda` marked as in need of one."""
    return [
        *(pytest.param(CPU, *_tuple(case), id=_name(CPU, case)) for case in cpu),
        *(pytest.param(CUDA, *_tuple(case), id=_name(CUDA, case), marks=pytest.mark.gpu) for case in cuda),
    ]


def require(device: str) -> None:
    """Fails the test where it was asked for on a device that is not there."""
    if device != CPU and not torch.cuda.is_available():
        pytest.fail("These tests need a CUDA device.")


def _tuple(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)


def _name(device: str, case: Any) -> str:
    return "-".join([device.partition(":")[0], *map(str, _tuple(case))])
