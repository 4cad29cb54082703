"""A gateway whose source is another gateway, both real."""
