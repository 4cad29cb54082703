"""Other people's programs against a gateway; run by hand, outside the timed suites."""
