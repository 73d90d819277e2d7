"""The catalogue: what is sold and for how much, as catalog.toml says. It sells nothing itself."""

from service.catalog.catalog import Catalog, Category, Check, Model, Pack, Params, load, parse

__all__ = ["Catalog", "Category", "Check", "Model", "Pack", "Params", "load", "parse"]
