"""Parse, tested."""
