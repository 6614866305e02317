"""Memory of this machine or container, and the embedded Redis's share of it."""

import os
from collections.abc import Iterator
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
LEAST_REDIS_BYTES = 64 << 20


def redis_memory(setting: int | float, total: int | None) -> int:
    """Bytes that the embedded Redis may fill: `setting` itself, or that fraction of `total`; at least 64 MiB.

    0, no bound, for a fraction of an unknown total.
    """
    if isinstance(setting, int):
        return setting
    return 0 if total is None else max(LEAST_REDIS_BYTES, int(setting * total))


def total_memory(*, cgroup: Path = CGROUP, own_groups: Path = OWN_GROUPS) -> int | None:
    """Bytes of memory of the machine, or the control group's limit if lower; None if unknown."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    return min([physical, *_limits(cgroup, own_groups)])


def _limits(cgroup: Path, own_groups: Path) -> Iterator[int]:
    """Memory limits of the control groups (v2 and v1) of this process."""
    folders = [(cgroup, "memory.max"), (cgroup / "memory", "memory.limit_in_bytes")]
    try:
        lines = [line.split(":", 2) for line in own_groups.read_text(encoding="utf-8").splitlines()]
    except OSError:
        lines = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers:
            folders.append((cgroup / path.strip("/"), "memory.max"))
        elif "memory" in controllers.split(","):
            folders.append((cgroup / "memory" / path.strip("/"), "memory.limit_in_bytes"))
    for folder, name in folders:
        try:
            yield int((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # no such group, or the value "max"
            continue
