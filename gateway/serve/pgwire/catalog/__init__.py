"""PostgreSQL's own catalogs over what one caller may know of the mesh."""
