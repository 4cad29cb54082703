"""A decision point outside: a small server that speaks the words of Trino's OPA plugin."""
