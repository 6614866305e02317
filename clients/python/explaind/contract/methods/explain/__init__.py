"""Parameters and results of the methods under /explain, one module each."""
