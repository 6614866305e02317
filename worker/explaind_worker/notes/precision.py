"""Notes on rounding: how far off scores are that were computed in 16 bits."""

import math

from explaind.contract.base import MethodResult
from explaind_worker.notes.wording import figure
from explaind_worker.session.session import Session

NARROW = {"bfloat16": 2.0**-7, "float16": 2.0**-10}  # the step between numbers just above 1
NEGLIGIBLE = 0.01  # of the rounding: a gap that is smaller is not spoken of


def precision_notes(result: MethodResult, session: Session) -> list[str]:
    """What 16 bits do to the scores of a job, from the size of the logits that it scored; none in wider types.

    Against float32 the scores of small models are off by half a step of their largest logit or less, one step at most.
    """
    pin = session.model_access.pin
    if pin is None or pin.model.dtype not in NARROW:
        return []
    dtype, step = pin.model.dtype, NARROW[pin.model.dtype]
    bits = f"Computed in {dtype}, which keeps {1 - round(math.log2(step))} significant bits"
    size = session.job.meter.logit_size
    if not size:
        return [f"{bits}: logits, and what is computed from them, are off by up to about {step:.1%} of the largest."]
    off = step * size
    note = (
        f"{bits}: with logits of up to {figure(size)} a token's log-probability is off by up to about {figure(off)}, "
        "and a value, which is a difference of two, by twice that. Smaller differences say nothing."
    )
    return [note + _beside_gap(result, off)]


def _beside_gap(result: MethodResult, off: float) -> str:
    """The gap of a sum that should add up, where the result has one, beside what rounding explains."""
    gap = getattr(result, "completeness_gap", None)
    gap = getattr(result, "gap", None) if gap is None else gap
    if (
        getattr(result, "score", "logit") == "prob"
        or not isinstance(gap, float)
        or not math.isfinite(gap)
        or abs(gap) < NEGLIGIBLE * off
    ):
        return ""
    explained = "is within that" if abs(gap) <= 2 * off else "is more than rounding explains"
    return f" The gap of {figure(gap)} {explained}."
