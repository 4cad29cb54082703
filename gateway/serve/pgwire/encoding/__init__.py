"""Room `gateway.serve.pgwire.encoding`; see docs/architecture.md."""
