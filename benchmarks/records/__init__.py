"""Defines what is written to disk: schemas, provenance, and reading back what belongs to a record."""
