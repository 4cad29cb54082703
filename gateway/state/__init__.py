"""Room `gateway.state`; see docs/architecture.md."""
