"""The value function: coalitions of units to scores of the target, by prefix tree or in dense batches."""
