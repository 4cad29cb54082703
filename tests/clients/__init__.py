"""Clients that others wrote, and what each sees of the gateway."""
