"""Other projects' updates beside ours: `python -m scripts.peers --peer PATH ...`."""
