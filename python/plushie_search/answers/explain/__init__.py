"""Explains why an item matches a query: heat maps, regions and words."""
