"""All endpoints at once, for a long time."""
