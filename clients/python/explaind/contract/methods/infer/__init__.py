"""Parameters and results of the methods under /infer, one module each."""
