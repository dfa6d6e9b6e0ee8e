"""Bundles: building them from resources, and reading resources out of them."""
