"""Room `gateway.serve.flight`; see docs/architecture.md."""
