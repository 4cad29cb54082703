"""Room `gateway.policies`; see docs/architecture.md."""
