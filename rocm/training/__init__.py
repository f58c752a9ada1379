"""Training: the loop, its checkpoints, and the run directory that everyone reads."""
