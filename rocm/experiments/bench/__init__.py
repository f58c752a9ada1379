"""What training, drawing and scoring cost: timed where they run, counted where they cannot."""
