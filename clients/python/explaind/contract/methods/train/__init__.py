"""Parameters and results of the methods under /train, one module each."""
