"""Structure of a network: anatomy, hook points, and modifications of its modules."""
