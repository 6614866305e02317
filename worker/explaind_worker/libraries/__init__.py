"""Adapters that run estimators of other libraries on a game evaluated in batches."""
