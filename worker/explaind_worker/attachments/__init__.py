"""What belongs to a model beside its weights (today tuned lenses): found by name or id, read, and held to its owner."""
