"""What a method is given of its job and its model, and the estimate of its cost."""
