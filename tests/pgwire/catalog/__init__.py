"""The catalogs of the PostgreSQL wire, beside those of a real PostgreSQL."""
