"""How long work takes on a model: seconds of its forwards, learnt from the jobs that ran on it.

Seconds of a job = `job_s` + `forward_s` × forwards + `operation_s` × operations. A forward of few tokens takes as long
as reading the weights does, one of many as long as its matrix products: that is why there are two terms and no plain
pace in tokens per second. Operations are counted from the model's shape: two for each weight of the blocks and token
(twice that where a gradient goes back), and two for each weight of the unembedding and place that is read. Attention
between tokens is left out: for prompts of a few hundred tokens it is small beside the weights.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from explaind_worker.models.loading.meta_model import Shape

Basis = Literal["measured", "calibrated", "assumed"]

EAGERNESS = 0.5  # how much of a surprise, as a factor, is believed at once
MOST_SURPRISE = 4.0  # one odd job (a busy machine) moves the pace by no more than this

JOB_S = 0.004  # prompt cut, answer written
CPU_FORWARD_S, GPU_FORWARD_S = 1e-3, 2e-2  # Python and the launching of kernels
CPU_BANDWIDTH, GPU_BANDWIDTH = 1e10, 1e12  # bytes of weights that are read in a second


@dataclass(frozen=True)
class Work:
    """What a job does: forwards, tokens through the blocks, of which gradients go back, places that are read."""

    forwards: int = 0
    tokens: int = 0
    tokens_back: int = 0
    reads: int = 0


def operations(shape: Shape, work: Work) -> float:
    """Floating-point operations of that work on a model of that shape."""
    return 2.0 * ((work.tokens + work.tokens_back) * shape.blocks + work.reads * shape.unembedding)


@dataclass(frozen=True)
class Measurement:
    """Work that was done, and the seconds that it took without loading the model."""

    work: Work
    seconds: float


@dataclass(frozen=True)
class TimingModel:
    """Seconds for a job as such, for each forward, and for each operation."""

    job_s: float
    forward_s: float
    operation_s: float
    basis: Basis

    @classmethod
    def assumed(cls, bytes: int, operations_per_s: float, *, on_gpu: bool) -> "TimingModel":
        """The pace of a model that nothing is known of but how large it is, and how fast its device multiplies."""
        fixed, bandwidth = (GPU_FORWARD_S, GPU_BANDWIDTH) if on_gpu else (CPU_FORWARD_S, CPU_BANDWIDTH)
        return cls(JOB_S, fixed + bytes / bandwidth, 1.0 / operations_per_s, "assumed")

    @classmethod
    def calibrated(cls, shape: Shape, short: Measurement, long: Measurement) -> "TimingModel":
        """The pace that explains two single forwards, a short one and a long one."""
        more = operations(shape, long.work) - operations(shape, short.work)
        # Where the long one was no slower, nothing is known of a single operation but that it costs next to nothing.
        operation_s = max(long.seconds - short.seconds, 0.05 * long.seconds) / max(1.0, more)
        forward_s = short.seconds - operation_s * operations(shape, short.work)
        return cls(JOB_S, max(forward_s, 0.1 * short.seconds), operation_s, "calibrated")

    def seconds(self, shape: Shape, work: Work) -> float:
        """Seconds that this work is expected to take."""
        return sum(self._terms(shape, work))

    def learnt(self, shape: Shape, measurements: Iterable[Measurement]) -> "TimingModel":
        """The pace after these measurements, oldest first.

        Each moves the terms, in proportion to their share in what was expected, towards what was measured.
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
