"""Files of models on the Hugging Face hub: fetched once, checked, and what to do when they cannot be had."""
