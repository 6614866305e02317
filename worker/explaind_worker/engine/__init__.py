"""Method-independent computation on models: scores of coalitions, activations, gradients, sweeps, generation."""
