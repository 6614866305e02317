"""The memory of a machine or container, and what of it the embedded Redis may fill."""

import os
from pathlib import Path

import pytest

from explaind_jobs.local_stack.machine_memory import redis_memory, total_memory
from explaind_jobs.settings import JobsSettings

GIB = 1 << 30
PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("setting", "total", "expected"),
    [(0.1, 16 * GIB, int(1.6 * GIB)), (0.1, 256 << 20, 64 << 20), (GIB, 2 * GIB, GIB), (0.1, None, 0), (1.0, GIB, GIB)],
)
def test_a_size_or_a_share(setting: int | float, total: int | None, expected: int) -> None:
    assert redis_memory(setting, total) == expected


def test_the_setting_is_a_size_or_a_fraction(monkeypatch: pytest.MonkeyPatch) -> None:
    assert JobsSettings(redis_url=None).redis_memory_bytes == 0.1
    monkeypatch.setenv("EXPLAIND_REDIS_MEMORY_BYTES", "1GiB")
    assert JobsSettings(redis_url=None).redis_memory_bytes == GIB


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("", "memory.max"),
        ("0::/box/one\n", "box/one/memory.max"),
        ("", "memory/memory.limit_in_bytes"),
        ("9:cpu,memory:/box\n1:name=systemd:/\n", "memory/box/memory.limit_in_bytes"),
    ],
)
def test_a_container_has_what_it_is_given(tmp_path: Path, groups: str, file: str) -> None:
    own, limit = tmp_path / "own", tmp_path / "cgroup" / file
    own.write_text(groups)
    limit.parent.mkdir(parents=True)
    limit.write_text("max\n")
    assert total_memory(cgroup=tmp_path / "cgroup", own_groups=own) == PHYSICAL
    limit.write_text(f"{64 << 20}\n")
    assert total_memory(cgroup=tmp_path / "cgroup", own_groups=own) == 64 << 20


def test_a_machine_without_control_groups_has_all_of_its_own(tmp_path: Path) -> None:
    assert total_memory(cgroup=tmp_path, own_groups=tmp_path / "none") == PHYSICAL
