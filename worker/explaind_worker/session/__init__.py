"""What a method is given for one job: its job context, and the access to its model."""
