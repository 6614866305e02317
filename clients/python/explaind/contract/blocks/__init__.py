"""Pieces that the parameters and results of several methods are made of."""
