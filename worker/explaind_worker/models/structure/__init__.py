"""The parts of a loaded model: anatomy, hook points, classifier head, self-check."""
