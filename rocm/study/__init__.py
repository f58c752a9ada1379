"""The user study: a store of votes whose database refuses wrong states. Holds no torch."""
