"""What EXPLAIN POLICY says, and that what it asks for does what it says."""
