"""The methods under /infer, one module each: `run(params, session)`."""
