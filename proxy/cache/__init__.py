"""The coherent cache: values with stamps, and the clocks that say whether a stamp is still good (docs/CACHE.md)."""
