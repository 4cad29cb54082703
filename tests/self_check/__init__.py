"""The differential self-check: what it finds, and what it must never do."""
