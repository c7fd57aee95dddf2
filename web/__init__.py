"""Serves what the scanner found: read-only polling endpoints over the index."""
