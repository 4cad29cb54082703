"""Tests of tables that show groups only: blocks, the differencing guard, the whole pipeline."""
