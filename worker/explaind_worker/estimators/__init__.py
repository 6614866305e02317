"""Estimators of unit values: which coalitions to ask for, and what the answers say. numpy only.

None of them chooses a coalition by an answer, so each lists all its coalitions first and the engine sees one batch.
"""
