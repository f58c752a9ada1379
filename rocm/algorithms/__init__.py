"""Fine-tuning algorithms; each reads top to bottom in one file."""
