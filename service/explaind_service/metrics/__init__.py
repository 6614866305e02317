"""What Prometheus may know: one table of names, where their values come from, and how they are told."""
