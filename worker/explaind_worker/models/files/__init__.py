"""A model's files: where each stands, what they hold, whether they fit together, and what reads them."""
