"""The votes: database, tables, and everything that a rater's visit changes."""
