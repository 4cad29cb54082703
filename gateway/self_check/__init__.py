"""A sample of queries runs again, pushed and pulled, and has to agree with itself."""
