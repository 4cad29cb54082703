"""Room `tests.pgwire`: the PostgreSQL wire on real sockets."""
