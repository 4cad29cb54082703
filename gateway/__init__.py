"""The sqluice server: one governed SQL address for all data products of an organisation."""

__version__ = "0.1.0"
