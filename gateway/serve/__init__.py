"""Room `gateway.serve`; see docs/architecture.md."""
