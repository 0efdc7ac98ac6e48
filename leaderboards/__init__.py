"""Turns records into pages and tables, without torch."""
