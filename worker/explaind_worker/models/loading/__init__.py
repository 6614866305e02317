"""Loads models into memory or onto the meta device, and checks the loaded ones."""
