"""Planted faults: realistic mistakes, each of which at least one test of the suite must catch."""
