"""Smaller and faster networks: 8-bit weights and activations, with ranges from the user's own pictures."""
