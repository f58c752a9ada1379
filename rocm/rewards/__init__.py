"""What pictures are worth. Names and files are known without torch; `load` reads networks."""
