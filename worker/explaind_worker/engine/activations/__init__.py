"""Activations of a running model: captured at hook points."""
