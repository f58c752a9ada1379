"""Rewards of pictures. Names and files are known without torch; `load` reads networks."""
