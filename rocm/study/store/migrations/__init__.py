"""Revisions of the schema, which only append; `env.py` runs them in the caller's transaction."""
