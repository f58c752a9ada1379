"""The command line: `python -m rocm COMMAND`."""
