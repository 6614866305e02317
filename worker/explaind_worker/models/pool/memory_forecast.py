"""Memory forecast for a job, before its model is loaded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryForecast:
    """Bytes of a model's weights, whether they are in memory, and bytes for work beside them.

    `room` is available now (after evicting unused models if necessary), `most_room` if the model were alone. `copied`:
    its copy in bfloat16 is in memory, and not part of `room`. `load_s` is the duration of its last loading here.
    """

    model_bytes: int
    resident: bool
    room: int
    most_room: int
    weights_fit: bool
    load_s: float | None
    copied: bool = False
