"""Certifying live sources, and the abilities that are in force then."""
