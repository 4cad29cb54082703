"""Tests of bad input: each has a stable code and a remedy, and none stops the gateway."""
