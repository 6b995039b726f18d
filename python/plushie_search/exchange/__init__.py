"""Vectors in and out: files of other programs, and copies of a catalog in plain formats."""
