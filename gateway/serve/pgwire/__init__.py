"""Room `gateway.serve.pgwire`; see docs/architecture.md."""
