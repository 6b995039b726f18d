"""Items of other forms: files that describe them."""
