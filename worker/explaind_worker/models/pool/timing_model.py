"""Timing model: seconds of work on a model, learnt from the jobs that ran on it.

Seconds of a job = `job_s` + `forward_s` × forwards + `operation_s` × operations. A forward of few tokens is bound by
reading the weights, one of many by its matrix products: hence two terms instead of a rate in tokens per second.
Operations are counted from the model's shape: two for each weight of the blocks and token (twice that with a backward
pass), and two for each weight of the unembedding and position read. Attention scores are left out: for prompts of a few
hundred tokens they are small in comparison.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from explaind_worker.models.loading.meta_model import Shape

Basis = Literal["measured", "calibrated", "assumed"]

EAGERNESS = 0.5  # share of a deviation, as a factor, that is adopted at once
MOST_SURPRISE = 4.0  # one outlier (a busy machine) changes the model by no more than this factor

JOB_S = 0.004  # tokenizing the prompt, writing the result
CPU_FORWARD_S, GPU_FORWARD_S = 1e-3, 2e-2  # Python and kernel launches
CPU_BANDWIDTH, GPU_BANDWIDTH = 1e10, 1e12  # bytes of weights read per second


@dataclass(frozen=True)
class Work:
    """Work of a job: forwards, tokens through the blocks, those with a backward pass, positions read."""

    forwards: int = 0
    tokens: int = 0
    tokens_back: int = 0
    reads: int = 0


def operations(shape: Shape, work: Work) -> float:
    """Floating-point operations of that work on a model of that shape."""
    return 2.0 * ((work.tokens + work.tokens_back) * shape.blocks + work.reads * shape.unembedding)


@dataclass(frozen=True)
class Measurement:
    """Work done, and its seconds without loading the model."""

    work: Work
    seconds: float


@dataclass(frozen=True)
class TimingModel:
    """Seconds per job, per forward, and per operation."""

    job_s: float
    forward_s: float
    operation_s: float
    basis: Basis

    @classmethod
    def assumed(cls, bytes: int, operations_per_s: float, *, on_gpu: bool) -> "TimingModel":
        """The timing model of an unmeasured model, from its size and the device's speed of multiplication."""
        fixed, bandwidth = (GPU_FORWARD_S, GPU_BANDWIDTH) if on_gpu else (CPU_FORWARD_S, CPU_BANDWIDTH)
        return cls(JOB_S, fixed + bytes / bandwidth, 1.0 / operations_per_s, "assumed")

    @classmethod
    def calibrated(cls, shape: Shape, short: Measurement, long: Measurement) -> "TimingModel":
        """The timing model fitted to two single forwards, a short and a long one."""
        more = operations(shape, long.work) - operations(shape, short.work)
        # If the long one was no slower, the cost of an operation is unknown, but close to zero.
        operation_s = max(long.seconds - short.seconds, 0.05 * long.seconds) / max(1.0, more)
        forward_s = short.seconds - operation_s * operations(shape, short.work)
        return cls(JOB_S, max(forward_s, 0.1 * short.seconds), operation_s, "calibrated")

    def seconds(self, shape: Shape, work: Work) -> float:
        """Expected seconds of this work."""
        return sum(self._terms(shape, work))

    def learnt(self, shape: Shape, measurements: Iterable[Measurement]) -> "TimingModel":
        """The timing model updated with these measurements, oldest first.

        Each moves the terms, in proportion to their share of the expected time, towards the measured time.
        """
        pace = self
        for measured in measurements:
            terms = pace._terms(shape, measured.work)
            expected = sum(terms)
            if measured.seconds <= 0 or expected <= 0:
                continue
            surprise = measured.seconds / expected
            surprise = EAGERNESS * math.log(min(max(surprise, 1 / MOST_SURPRISE), MOST_SURPRISE))
            shares = [term / expected for term in terms]
            norm = sum(share * share for share in shares)
            job, forward, operation = (math.exp(surprise * share / norm) for share in shares)
            pace = replace(
                pace,
                job_s=pace.job_s * job,
                forward_s=pace.forward_s * forward,
                operation_s=pace.operation_s * operation,
                basis="measured",
            )
        return pace

    def _terms(self, shape: Shape, work: Work) -> tuple[float, float, float]:
        return self.job_s, self.forward_s * work.forwards, self.operation_s * operations(shape, work)
