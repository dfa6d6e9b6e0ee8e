"""Whether the process lives, and whether it can convert and take cases in for a server."""

from __future__ import annotations

from flask import Blueprint, Response

from service import __version__
from service.api.answers import answer
from service.api.engines import engines
from service.api.incoming import must_accept_json
from service.api.sync import sync
from service.config import DEFAULT_SET

blueprint = Blueprint("health", __name__, url_prefix="/health")
blueprint.before_request(must_accept_json)


@blueprint.get("/live")
def live() -> Response:
    return answer({"status": "live"})


@blueprint.get("/ready")
def ready() -> Response:
    """Ready with the default set, which is loaded before the first request: the app does not start without it.

    Where a server is configured, the outbox has to be there as well: 503 otherwise, and once the service is stopping.
    """
    here = sync()
    here.must_go_on()
    if here.servers:
        here.must_be_reachable()
    mapping = engines().get(DEFAULT_SET).mapping
    used = {"name": str(mapping.name), "version": str(mapping.spec.version), "fingerprint": mapping.fingerprint}
    outbox = "ready" if here.servers else "not used: no FHIR server is configured"
    return answer({"status": "ready", "version": __version__, "mapping": used, "outbox": outbox})
