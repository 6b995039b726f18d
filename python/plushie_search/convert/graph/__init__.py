"""Reads, simplifies, converts and writes ONNX graphs."""
