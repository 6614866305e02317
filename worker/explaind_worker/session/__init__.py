"""Session of a method's run: job context, and access to the model."""
