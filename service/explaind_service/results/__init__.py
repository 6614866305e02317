"""Results over HTTP: negotiation, ranges, pagination, regrouping."""
