"""Room `gateway.engines`; see docs/architecture.md."""
