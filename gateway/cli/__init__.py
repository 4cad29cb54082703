"""Room `gateway.cli`; see docs/architecture.md."""
