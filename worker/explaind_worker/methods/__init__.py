"""One module per method, named as in the contract: `run(params, session)` gives the result."""
