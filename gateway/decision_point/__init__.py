"""An optional decision point outside the gateway, asked in the words of Trino's OPA plugin."""
