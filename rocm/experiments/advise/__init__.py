"""Which divergence: a pilot of all at the same joint KL, and a verdict."""
