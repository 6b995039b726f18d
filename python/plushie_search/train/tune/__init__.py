"""Fine-tunes a picture network on photos of one's own items."""
