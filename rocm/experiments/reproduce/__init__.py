"""The paper's comparison on the embedded model: a fixed plan of runs, and a report of them."""
