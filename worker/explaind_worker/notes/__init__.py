"""Notes that results of every method have: how prompt and target were read, and how far numbers are rounded."""
