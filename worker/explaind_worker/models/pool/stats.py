"""How the memory of a worker's models stands; no torch here, so that the whole worker may speak of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ModelMemory:
    """A model in memory: what it takes up, and what it took to get it there."""

    bytes: int
    load_s: float


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Bytes held and allowed over all devices in use, loads and evictions so far, and the models in memory."""

    bytes_used: int = 0
    bytes_budget: int = 0
    loads: int = 0
    evictions: int = 0
    models: dict[str, ModelMemory] = field(default_factory=dict)
