"""Settings, secrets, publishing, contracts against live tables."""
