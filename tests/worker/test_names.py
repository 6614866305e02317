"""Names are stable over restarts and never shared."""

from pathlib import Path

from explaind_worker.names import take_name


def test_a_restarted_worker_has_its_old_name(tmp_path: Path) -> None:
    first = take_name(tmp_path)
    second = take_name(tmp_path)
    assert first.name != second.name
    first.release()
    again = take_name(tmp_path)
    assert again.name == first.name
    again.release()
    second.release()


def test_two_directories_never_give_the_same_name(tmp_path: Path) -> None:
    first, second = take_name(tmp_path / "a"), take_name(tmp_path / "b")
    assert first.name != second.name
    first.release()
    second.release()
