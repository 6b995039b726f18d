"""PyTorch models of open_clip and transformers as model directories (extra `export`)."""
