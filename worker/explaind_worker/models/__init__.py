"""Models: where they are, how they are loaded, what they are made of, and the proof that we see them right."""
