import pytest

from explaind_worker.models.pool import memory_budget
from explaind_worker.models.pool.memory_budget import MemoryBudget, free_memory, in_words

LOTS = 64 << 30


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine with a lot of free memory."""

    class Memory:
        available = LOTS

    monkeypatch.setattr(memory_budget.psutil, "virtual_memory", Memory)


def test_bytes_a_fraction_or_the_default(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_budget, "free_memory", lambda: 1000)
    assert MemoryBudget(123).of("cpu") == 123
    assert MemoryBudget(0.5).of("cpu") == 500
    assert MemoryBudget().of("cpu") == 700


def groups(tmp_path, *lines):
    (tmp_path / "own").write_text("".join(f"{line}\n" for line in lines))
    return {"cgroup": tmp_path, "own_groups": tmp_path / "own"}


def test_a_containers_limit_counts(tmp_path):
    """Version 2: the cache that would be given up is free memory."""
    (tmp_path / "memory.max").write_text("4000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 1000\ninactive_file 500\n")
    assert free_memory(**groups(tmp_path, "0::/")) == 1500


def test_a_group_below_the_root_counts(tmp_path):
    folder = tmp_path / "user.slice" / "job"
    folder.mkdir(parents=True)
    (tmp_path / "memory.max").write_text("max\n")
    (folder / "memory.max").write_text("2000\n")
    (folder / "memory.current").write_text("500\n")
    assert free_memory(**groups(tmp_path, "0::/user.slice/job")) == 1500


def test_version_1_counts(tmp_path):
    folder = tmp_path / "memory" / "docker"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("9000")
    (folder / "memory.usage_in_bytes").write_text("1000")
    assert free_memory(**groups(tmp_path, "5:cpu:/x", "4:cpuacct,memory:/docker")) == 8000


def test_without_groups_the_machine_counts(tmp_path):
    assert free_memory(cgroup=tmp_path, own_groups=tmp_path / "none") == LOTS


@pytest.mark.parametrize(
    ("count", "words"),
    [(13_500_000_000, "13.5 GB"), (240_000_000, "240 MB"), (613_000, "613.0 kB"), (1_500_000, "1.5 MB")],
)
def test_bytes_in_words(count, words):
    assert in_words(count) == words
