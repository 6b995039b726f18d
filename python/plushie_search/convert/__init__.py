"""Model directories made of other models: exported, in 16 bits, in 8 bits."""
