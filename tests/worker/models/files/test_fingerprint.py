"""Everything that is read of a model counts in its fingerprint, whole, and is read again only when it changed."""

import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.files import fingerprint as fingerprints
from explaind_worker.models.files.fingerprint import fingerprint_of, state_of
from explaind_worker.models.pool.pool import ModelPool


@pytest.fixture
def folder(tiny_model, tmp_path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(tiny_model("llama").path, copy)
    for name in ("chat_template.jinja", "tokenizer.model", "vocab.txt", "merges.txt", "README.md"):
        (copy / name).write_text("one\n")
    (copy / "additional_chat_templates").mkdir()
    (copy / "additional_chat_templates" / "tools.jinja").write_text("one\n")
    return copy


READ = ["chat_template.jinja", "tokenizer.model", "vocab.txt", "merges.txt", "additional_chat_templates/tools.jinja"]


@pytest.mark.parametrize("name", [*READ, "config.json", "tokenizer.json", "generation_config.json"])
def test_every_file_that_is_read_counts(folder, name):
    before, file = fingerprint_of(folder), folder / name
    content, state = file.read_bytes(), file.stat()
    file.write_bytes(content.swapcase())  # of the same size
    assert fingerprint_of(folder) != before
    file.write_bytes(content)
    assert fingerprint_of(folder) == before, f"{state.st_size} bytes as before"
    file.unlink()
    assert fingerprint_of(folder) != before


def test_the_last_byte_of_the_weights_counts(folder):
    before, file = fingerprint_of(folder), folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    assert len(content) > 1 << 18
    content[-1] ^= 1
    file.write_bytes(content)
    assert fingerprint_of(folder) != before


def test_what_is_not_read_does_not_count(folder):
    before = fingerprint_of(folder)
    (folder / "README.md").write_text("two\n")
    (folder / "model.safetensors").touch()
    assert fingerprint_of(folder) == before


def test_a_file_is_read_once_while_it_stays(folder, monkeypatch):
    before = fingerprint_of(folder)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was read again"))
    assert fingerprint_of(folder) == before
    monkeypatch.undo()
    (folder / "vocab.txt").write_text("two\n")
    opened, real = [], Path.open
    monkeypatch.setattr(Path, "open", lambda path, *rest: (opened.append(path.name), real(path, *rest))[1])
    assert fingerprint_of(folder) != before
    assert opened == ["vocab.txt"]


def test_a_file_put_in_the_place_of_another_is_read(folder):
    """Of one size and one time of change: a copy that keeps times, moved over the old one."""
    before, old = fingerprint_of(folder), folder / "vocab.txt"
    state, new = old.stat(), folder / "new"
    new.write_text("two\n")
    os.utime(new, ns=(state.st_atime_ns, state.st_mtime_ns))
    new.replace(old)
    assert fingerprint_of(folder) != before


def test_attachments_count_as_files_and_as_folders(folder, tmp_path):
    lens, directory = tmp_path / "a.safetensors", tmp_path / "lens"
    directory.mkdir()
    (directory / "params.pt").write_bytes(b"one")
    missing = state_of([lens, directory])
    lens.write_bytes(b"one")
    there = state_of([lens, directory])
    (directory / "params.pt").write_bytes(b"two")
    assert len({missing, there, state_of([lens, directory])}) == 3
    assert fingerprints._digest.cache_info().maxsize


def test_a_folder_that_cannot_be_listed_is_a_state_too(folder, monkeypatch):
    """A heartbeat looks at it, which no broken mount may stop."""
    before = state_of([folder])

    def broken(_path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "iterdir", broken)
    assert state_of([folder]) == state_of([folder]) != before


class TestChangedFiles:
    """Of a model that is in memory."""

    @pytest.fixture
    def entry(self, folder) -> ModelEntry:
        return ModelEntry(name="changing", path=folder)

    def test_weights_saved_over_the_old_are_loaded_before_the_next_job(self, folder, entry):
        pool = ModelPool()
        first, _ = pool.model(entry)
        assert pool.model(entry)[0] is first
        assert set(pool.revisions()) == {"changing"}
        told = pool.revisions()["changing"]
        weights = load_file(folder / "model.safetensors")
        weights["model.layers.2.mlp.down_proj.weight"] *= 0.5
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        assert pool.revisions()["changing"].startswith("changed: "), "known answers are not those of its files"
        assert pool.revision_of("changing") is None, "nor are answers of jobs that still run on it"
        second, _ = pool.model(entry)
        assert second is not first
        loaded = second.network.model.layers[2].mlp.down_proj.weight
        assert (loaded == weights["model.layers.2.mlp.down_proj.weight"]).all()
        assert pool.revisions()["changing"] == pool.revision_of("changing") not in {told, None}

    def test_a_model_that_left_memory_is_watched_on(self, folder, entry):
        pool = ModelPool()
        pool.model(entry)
        told = pool.revisions()["changing"]
        with pool._changed:
            pool._evict(pool.ledger(entry), list(pool.ledger(entry).accounts))
        assert pool.resident() == []
        assert pool.revisions() == {"changing": told}, "its answers are still those of its files"
        (folder / "vocab.txt").write_text("two\n")
        assert pool.revisions()["changing"] != told

    def test_a_job_that_is_on_the_old_model_finishes_on_it(self, folder, entry):
        pool, waits = ModelPool(), []
        with pool.pin(entry) as old:
            settings = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**settings, "rms_norm_eps": 1e-3}))

            def while_waiting() -> None:
                waits.append(pool.resident())
                raise InterruptedError

            with pytest.raises(InterruptedError):
                pool.pin(entry, while_waiting=while_waiting)
            assert waits == [["changing"]]
            assert old.network.config.rms_norm_eps != 1e-3
        with pool.pin(entry) as new:
            assert new.network.config.rms_norm_eps == 1e-3

    def test_a_lens_exchanged_under_its_name_changes_what_answers_depend_on(self, folder, tmp_path):
        lens = tmp_path / "lens.safetensors"
        lens.write_bytes(b"one")
        pool, entry = ModelPool(), ModelEntry(name="changing", path=folder, attachments={"lenses": {"mine": lens}})
        pool.model(entry)
        before = pool.revisions()
        lens.write_bytes(b"two")
        assert pool.revisions() != before
