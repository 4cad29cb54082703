"""SQLAlchemy's own suite runs in a process of its own, with a conftest of its own."""

collect_ignore = ["suite"]
