"""The run directory, the queue of a home, and what people do with runs."""
