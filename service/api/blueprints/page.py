"""The page at /: what the service is, and its endpoints."""

from __future__ import annotations

from flask import Blueprint, render_template

from service import __version__
from service.api.engines import engines
from service.config import DEFAULT_SET

blueprint = Blueprint("page", __name__)


@blueprint.get("/")
def index() -> str:
    store = engines()
    title = store.get(DEFAULT_SET).mapping.spec.title
    return render_template("index.html", version=__version__, default=DEFAULT_SET, title=title, names=list(store.folders))
