"""Estimates from votes: arrays in, numbers out; no database, no words."""
