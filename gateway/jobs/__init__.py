"""Room `gateway.jobs`; see docs/architecture.md."""
