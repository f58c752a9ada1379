"""One file per revision. A released revision is never edited: later revisions add to it."""
