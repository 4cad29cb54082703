"""All endpoints as one process."""
