"""Measures search: how fast, how exact, and what it takes."""
