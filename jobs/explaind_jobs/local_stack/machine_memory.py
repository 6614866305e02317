"""How much memory this machine, or the container on it, has; and the share of it that the embedded Redis gets."""

import os
from collections.abc import Iterator
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
LEAST_REDIS_BYTES = 64 << 20


def redis_memory(setting: int | float, total: int | None) -> int:
    """Bytes that the embedded Redis may fill: `setting` itself, or that fraction of `total`; at least 64 MiB.

    0, no bound, where a fraction is asked for and nobody knows of what.
    """
    if isinstance(setting, int):
        return setting
    return 0 if total is None else max(LEAST_REDIS_BYTES, int(setting * total))


def total_memory(*, cgroup: Path = CGROUP, own_groups: Path = OWN_GROUPS) -> int | None:
    """Bytes of memory of the machine, fewer where a control group bounds this process; None where nobody can tell."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    return min([physical, *_limits(cgroup, own_groups)])


def _limits(cgroup: Path, own_groups: Path) -> Iterator[int]:
    """The bounds of the control groups of this process: of version 2, and of version 1."""
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
        except (OSError, ValueError):  # no such group, or the word "max"
            continue
