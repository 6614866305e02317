"""Planted faults: realistic slips, each of which at least one test of the suite must catch."""
