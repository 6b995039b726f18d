"""Plush toys that are drawn from a seed: their pictures and facts."""
