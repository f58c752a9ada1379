"""The official scoring packages in an environment of their own, and checkpoints to compare with."""
