"""Whether the process lives, and whether it can convert."""

from __future__ import annotations

from flask import Blueprint, Response

from service import __version__
from service.api.answers import answer
from service.api.engines import engines
from service.api.incoming import must_accept_json
from service.config import DEFAULT_SET

blueprint = Blueprint("health", __name__, url_prefix="/health")
blueprint.before_request(must_accept_json)


@blueprint.get("/live")
def live() -> Response:
    return answer({"status": "live"})


@blueprint.get("/ready")
def ready() -> Response:
    """Ready with the default set, which is loaded before the first request: the app does not start without it."""
    mapping = engines().get(DEFAULT_SET).mapping
    used = {"name": str(mapping.name), "version": str(mapping.spec.version), "fingerprint": mapping.fingerprint}
    return answer({"status": "ready", "version": __version__, "mapping": used})
