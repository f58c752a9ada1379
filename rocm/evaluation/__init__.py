"""Arms of one model on the same prompts and noise: drawn, measured, compared; no torch here."""
