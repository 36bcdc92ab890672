"""Figures, tables and comparisons from a sweep's records."""
