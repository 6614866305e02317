"""Estimators of other libraries, run by their own classes on a game that answers in batches."""
