"""Shared by tests: reference computations, checks, stand-ins and process harnesses."""
