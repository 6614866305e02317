"""How a network is built: where its hook points are."""
