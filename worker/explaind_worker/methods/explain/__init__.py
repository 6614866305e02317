"""The methods under /explain, one module each: `run(params, session)`."""
