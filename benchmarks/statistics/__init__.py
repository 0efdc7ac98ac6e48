"""Estimators and intervals: pure functions of counts, on numpy and scipy alone."""
