"""Intervals, rank agreement and deletion curves: arithmetic without a model."""
