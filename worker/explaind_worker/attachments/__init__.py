"""Attachments of a model beside its weights (tuned lenses): lookup by name or id, loading, check of the owner."""
