"""Lists of prompts, split into training and evaluation."""
