"""The endpoints, grouped by what they are about."""

from service.api.blueprints import convert, health, mappings, page, validate

BLUEPRINTS = (convert.blueprint, validate.blueprint, mappings.blueprint, health.blueprint, page.blueprint)

__all__ = ["BLUEPRINTS"]
