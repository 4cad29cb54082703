"""Past decisions computed again, and changes tried on what was asked."""
