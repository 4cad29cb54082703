"""The audit: chains, proofs, redaction."""
