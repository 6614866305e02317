"""The options of a method's command: how they are named, what their values mean, and how errors speak of them."""
