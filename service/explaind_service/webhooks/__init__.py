"""Webhooks: allowed destinations (ssrf_guard), sending (transport), schedule and retries (delivery)."""
