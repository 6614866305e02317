"""Errors as RFC 9457 problems, and their entries in the OpenAPI document."""
