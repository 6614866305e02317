"""Memory forecast for a job, before its model is loaded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryForecast:
    """Bytes of a model's weights, whether they are in memory, and bytes for work beside them.

    `room` is what there is now (unused models having left where they must), `most_room` what there would be if the
    model were alone. `copied`: its copy in bfloat16 is there, and not in `room`. `load_s` is how long loading it took
    when it was last loaded here.
    """

    model_bytes: int
    resident: bool
    room: int
    most_room: int
    weights_fit: bool
    load_s: float | None
    copied: bool = False
