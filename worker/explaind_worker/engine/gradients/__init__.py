"""Gradients of the target's score with respect to embeddings."""
