"""Webhooks: where one may go (guard), how it gets there (transport), when and how often (delivery)."""
