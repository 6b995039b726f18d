"""A catalog in Milvus, with the methods of an engine."""
