"""Apache Superset, headless."""
