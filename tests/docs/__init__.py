"""What the pages tell a reader to type is typed."""
