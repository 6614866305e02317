"""Benchmarks, run by hand: `python -m benchmarks AREA [--case NAME] [--json FILE]`."""
