"""Makes the embedded model: data set, autoencoder, CLIPs, teacher, consistency model, judge.

`python -m scripts.tiny --help` lists the stages; docs/tiny.md walks through them.
"""
