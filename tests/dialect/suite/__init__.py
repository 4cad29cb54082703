"""What runs beside SQLAlchemy's suite; knows the client alone."""
