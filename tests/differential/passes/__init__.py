"""What each pass makes of statements, as text, and that the answers stay what DuckDB gives."""
