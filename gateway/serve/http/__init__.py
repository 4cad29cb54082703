"""Room `gateway.serve.http`; see docs/architecture.md."""
