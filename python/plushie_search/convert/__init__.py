"""Converts models to model directories: exported, in fp16, in int8."""
