"""What attribution methods share: the resolved query, the coalition game, embedding gradients, faithfulness."""
