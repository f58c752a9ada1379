"""What lies on disk and on the hub, and how it is read and written. Knows no setting."""
