"""Answers the requests of each route."""
