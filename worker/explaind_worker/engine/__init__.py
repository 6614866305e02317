"""The core under every method: units, coalitions in and target scores out, generation."""
