"""Suites: what a comparison holds equal, as YAML files beside their schema."""
