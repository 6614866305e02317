"""Ablation of heads and layers: runs, effects, generated answers."""
