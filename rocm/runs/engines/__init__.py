"""Where runs are trained besides this machine: Slurm, Ray."""
