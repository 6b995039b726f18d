"""The Rust core: what it raises, and its types. Import these names from `plushie_search`."""

__version__: str

class PictureError(ValueError):
    """A picture or mesh that cannot be read: damaged, of an unknown format, or beyond the limits."""

class ModelError(RuntimeError):
    """A model or runtime library that cannot be used."""

class CatalogError(RuntimeError):
    """A catalog that cannot be opened or changed."""
