"""Loading: weights, tokenizer, chat template, meta model, checks of what was loaded."""
