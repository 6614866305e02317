"""Tests of explaind; what several of them share is in `tests.support`."""
