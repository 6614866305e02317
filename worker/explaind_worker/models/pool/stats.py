"""Memory statistics of a worker's models; imports no torch, so that the whole worker may use them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ModelMemory:
    """A model in memory: its size, and the time it took to load."""

    bytes: int
    load_s: float


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Bytes held and allowed over all devices in use, counts of loads and evictions, and the models in memory."""

    bytes_used: int = 0
    bytes_budget: int = 0
    loads: int = 0
    evictions: int = 0
    models: dict[str, ModelMemory] = field(default_factory=dict)
