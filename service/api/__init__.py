"""The HTTP service: `gunicorn "service.api:create_app()"`."""

from service.api.app import create_app

__all__ = ["create_app"]
