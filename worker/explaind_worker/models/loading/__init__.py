"""Loading: models in memory or on the meta device, and the checks of what was loaded."""
