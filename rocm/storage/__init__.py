"""Files on disk and on the hub. Knows no setting."""
