"""The endpoints, grouped by what they are about."""

from service.api.blueprints import convert, health, mappings, page, sync, validate

BLUEPRINTS = tuple(one.blueprint for one in (convert, validate, mappings, sync, health, page))

__all__ = ["BLUEPRINTS"]
