"""Estimators of unit values: which coalitions to evaluate, and the values from their scores. numpy only.

No choice of coalitions depends on scores, so each estimator lists all its coalitions first and the engine gets one
batch.
"""
