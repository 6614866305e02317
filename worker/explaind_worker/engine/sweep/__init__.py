"""Sweeps: many edited runs of one prompt in one growing forward."""
