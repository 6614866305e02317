"""Methods and engines do not ask whether the model has weights: `engine.batching.dry_run` does, for all of them."""

import re
from pathlib import Path

import explaind_worker

WORKER = Path(explaind_worker.__file__).parent
KNOWS = re.compile(r"\bMeta(Model|Classifier)\b")
SEAM = {"engine/batching/dry_run.py"}


def test_only_the_seam_tells_models_without_weights_from_loaded_ones():
    found = {
        path.relative_to(WORKER).as_posix()
        for folder in ("methods", "engine")
        for path in (WORKER / folder).rglob("*.py")
        if KNOWS.search(path.read_text())
    }
    assert "engine/batching/dry_run.py" in found, "the pattern still matches something"
    assert found <= SEAM


def test_methods_do_not_ask_whether_they_are_estimated():
    asking = [
        path.name
        for path in (WORKER / "methods").rglob("*.py")
        if re.search(r"(?<!batching)\.dry_run\b", path.read_text())
    ]
    assert asking == []
