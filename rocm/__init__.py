"""Reward optimization of consistency models: fine-tune, compare and judge few-step generators."""

__version__ = "0.1.0"
