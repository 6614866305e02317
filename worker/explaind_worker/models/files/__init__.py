"""Files of a model: location, consistency checks, fingerprint, and loaders."""
