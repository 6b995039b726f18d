"""Inspects photos of products beside golden samples: verdicts, difference maps, reports."""
