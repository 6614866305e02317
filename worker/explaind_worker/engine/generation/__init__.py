"""Greedy generation, one prompt or many."""
