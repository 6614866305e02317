"""Reading and changing activations: capture, interventions, attention patterns, direct logit attribution."""
