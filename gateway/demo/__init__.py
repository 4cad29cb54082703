"""Room `gateway.demo`; see docs/architecture.md."""
