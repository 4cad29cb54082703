"""Measurements that `make bench` prints; see README.md."""
