"""Asks a catalog for known items and judges its answers."""
