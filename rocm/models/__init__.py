"""Generators in diffusers' layout and their LoRA adapters."""
