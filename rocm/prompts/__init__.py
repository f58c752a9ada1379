"""What is drawn: lists of prompts, and which of them train and which evaluate."""
