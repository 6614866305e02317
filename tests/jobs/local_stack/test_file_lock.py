"""A lock has one holder, and is free when its file is closed."""

from pathlib import Path

from explaind_jobs.local_stack.file_lock import lock_within, try_lock


def test_one_holder(tmp_path: Path) -> None:
    held = try_lock(tmp_path / "lock")
    assert held is not None
    assert try_lock(tmp_path / "lock") is None
    assert lock_within(tmp_path / "lock", 0.06) is None
    held.close()
    again = lock_within(tmp_path / "lock", 0.06)
    assert again is not None
    again.close()
