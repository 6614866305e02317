"""Statistics over plain arrays, without a model."""
