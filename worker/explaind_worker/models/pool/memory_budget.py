"""Memory budget: bytes of a device that the worker may use."""

from pathlib import Path

import psutil
import torch

CUDA_SHARE = 0.9  # of the accelerator's memory
CPU_SHARE = 0.7  # of the free memory when the worker starts

CGROUP = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


class MemoryBudget:
    """The setting `memory_bytes` (bytes, a fraction, or None for the default) as bytes of each device.

    A fraction refers to the accelerator's memory, or to the memory that was free in the machine or container when this
    object was made.
    """

    def __init__(self, setting: int | float | None = None) -> None:
        self._setting = setting
        self._free_at_start = free_memory()

    def of(self, device: str) -> int:
        """Bytes allowed for weights and work on that device."""
        if isinstance(self._setting, int):
            return self._setting
        if torch.device(device).type == "cuda":
            total = torch.cuda.get_device_properties(device).total_memory
            return int(total * (self._setting or CUDA_SHARE))
        return int(self._free_at_start * (self._setting or CPU_SHARE))


def free_memory(*, cgroup: Path = CGROUP, own_groups: Path = OWN_GROUPS) -> int:
    """Bytes available to this process: the machine's, or fewer if a control group limits them."""
    free = int(psutil.virtual_memory().available)
    for folder, limit_name, used_name, cache_name in _groups(cgroup, own_groups):
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and used is not None:
            free = min(free, max(0, limit - used + _statistic(folder / "memory.stat", cache_name)))
    return free


def in_words(count: int) -> str:
    """A number of bytes as text: 13.5 GB, 240 MB, 12 kB."""
    for size, unit in ((10**9, "GB"), (10**6, "MB")):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 100 * size else f"{count / size:,.0f} {unit}"
    return f"{count / 1000:.1f} kB"


def _groups(cgroup: Path, own_groups: Path) -> list[tuple[Path, str, str, str]]:
    """Control groups limiting this process, with the names of their files; version 2, then version 1."""
    try:
        lines = [line.split(":", 2) for line in own_groups.read_text(encoding="utf-8").splitlines()]
    except OSError:
        lines = []
    unified, legacy = [cgroup], [cgroup / "memory"]
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers:
            unified.append(cgroup / path.strip("/"))
        elif "memory" in controllers.split(","):
            legacy.append(cgroup / "memory" / path.strip("/"))
    return [
        *((folder, "memory.max", "memory.current", "inactive_file") for folder in unified),
        *((folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file") for folder in legacy),
    ]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such group, or the value "max"
        return None


def _statistic(path: Path, name: str) -> int:
    # The page cache counts as used, though it is reclaimed when memory is needed.
    try:
        pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return 0
    return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == name), 0)
