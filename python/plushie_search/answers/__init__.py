"""Answers to questions about pictures and about the catalog itself, beyond searches."""
