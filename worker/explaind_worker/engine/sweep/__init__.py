"""Many changed runs of one prompt in one growing forward."""
