"""The methods under /evaluate, one module each: `run(params, session)`."""
