"""How much goes into one forward, what it costs, and what a dry run does instead."""
