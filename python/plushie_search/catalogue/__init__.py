"""Published models by name: what they are, where their files lie, and how they come here."""
