"""Parameters and results of the methods under /evaluate, one module each."""
