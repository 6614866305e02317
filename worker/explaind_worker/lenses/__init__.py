"""Logit and tuned lenses: lookup, checkpoints, readout, training."""
