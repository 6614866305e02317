"""The methods under /train, one module each: `run(params, session)`."""
