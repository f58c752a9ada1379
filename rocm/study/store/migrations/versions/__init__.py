"""One file a revision. What one has done is never edited: later ones add to it."""
