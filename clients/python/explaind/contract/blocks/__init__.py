"""Parts shared by the parameters and results of several methods."""
