"""Measures search: speed, recall, memory and disk."""
