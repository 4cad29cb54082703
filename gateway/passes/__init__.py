"""Room `gateway.passes`; see docs/architecture.md."""
