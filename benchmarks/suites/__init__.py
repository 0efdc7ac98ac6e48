"""Suites hold what a comparison must keep equal, as YAML files beside their schema."""
