"""ONNX graphs, written by us: read, made simpler without changing what they compute, and saved."""
