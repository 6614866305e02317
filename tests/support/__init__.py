"""Shared by tests: reference computations, checks, stand-ins and process harnesses."""

import os
from pathlib import Path

# `make test-all`: every case with many examples, where `make test` has each kind of case once.
LONG = os.environ.get("EXPLAIND_TESTS") == "long"

# The committed OpenAPI document. tests/service/test_openapi.py compares it with the one that is served, once: to make
# it takes seconds.
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
