"""What the measurements measure is right."""
