"""Real models and texts, made by others: read where they lie, never copied into the project."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_inputs() -> Path:
    """The folder that EXPLAIND_REAL_INPUTS names."""
    folder = os.environ.get("EXPLAIND_REAL_INPUTS")
    if not folder or not Path(folder).is_dir():
        pytest.fail("EXPLAIND_REAL_INPUTS must name the folder of the real inputs.")
    return Path(folder)
