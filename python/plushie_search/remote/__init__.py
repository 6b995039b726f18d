"""A catalog on a server, as an engine."""
