"""Names are stable over restarts and never shared."""

from pathlib import Path

import pytest

from explaind_worker.runtime.worker_names import names_given, take_name


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


def test_names_outlive_their_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names_given(tmp_path / "never") == []
    first, second = take_name(tmp_path), take_name(tmp_path)
    given = [first.name, second.name]
    assert names_given(tmp_path) == given
    first.release()
    second.release()
    assert names_given(tmp_path) == given
    (tmp_path / "worker-2.lock").touch()  # a worker that has made its file, and not yet its token
    assert names_given(tmp_path) == given
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert all(name.startswith("another-") for name in names_given(tmp_path))
