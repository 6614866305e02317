"""Parts shared by attribution methods: resolved query, coalition game, embedding gradients, faithfulness."""
