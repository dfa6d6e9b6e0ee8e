"""The HTTP service: `gunicorn --config python:service.api.gunicorn_hooks "service.api:create_app()"`."""

from service.api.app import create_app

__all__ = ["create_app"]
