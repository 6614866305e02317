"""Shared by tests: reference computations, checks, stand-ins and process harnesses."""

import os

# `make test-all`: every case with many examples, where `make test` has each kind of case once.
LONG = os.environ.get("EXPLAIND_TESTS") == "long"
