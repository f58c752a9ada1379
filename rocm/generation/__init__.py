"""Drawing on demand: a resident process that keeps models loaded, its queue, and what it drew."""
