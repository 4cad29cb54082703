"""Java programs over JDBC."""
