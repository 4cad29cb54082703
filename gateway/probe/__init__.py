"""Room `gateway.probe`; see docs/architecture.md."""
