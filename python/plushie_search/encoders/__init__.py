"""Encoders: what an engine can encode with, and adapters to servers."""
