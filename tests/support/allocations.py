"""What the CPU's allocator sees: every block that torch takes and gives back while something runs."""

import gc
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_bytes(run: Callable[[], object]) -> int:
    """Most bytes in use at once while `run` runs, above those before it."""
    gc.disable()  # garbage of others, freed meanwhile, would count
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            run()
    finally:
        gc.enable()
    assert profiled.profiler is not None
    assert profiled.profiler.kineto_results is not None
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    in_use = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        in_use += event.nbytes()
        peak = max(peak, in_use)
    assert peak > 0
    return peak
