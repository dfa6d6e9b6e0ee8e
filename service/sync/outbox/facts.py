"""What the outbox keeps about servers: until when one is left alone, and small facts by name."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from service.sync.outbox.ledger import INSERT, upserts
from service.sync.outbox.tables import FACT, HOLD

_REMEMBER = upserts(FACT)
_RECALL = select(FACT.c.value).where(FACT.c.target == bindparam("of_target"), FACT.c.name == bindparam("of_name"))
_HELD = select(HOLD.c.target, HOLD.c.until).where(HOLD.c.until > bindparam("now"))
_NEW_HOLD = {dialect: insert(HOLD) for dialect, insert in INSERT.items()}
# Answers may be noted in another order than they came: the longest hold is the one to keep.
_HOLD = {
    dialect: new.on_conflict_do_update(
        index_elements=list(HOLD.primary_key),
        set_={"until": new.excluded["until"], "reason": new.excluded["reason"]},
        where=HOLD.c.until < new.excluded["until"],
    )
    for dialect, new in _NEW_HOLD.items()
}


def set_hold(connection: Connection, target: str, until: float, reason: str) -> None:
    connection.execute(_HOLD[connection.dialect.name], {"target": target, "until": until, "reason": reason})


def list_holds(connection: Connection, now: float) -> dict[str, float]:
    """The servers to leave alone now, each with the time until when."""
    return dict(connection.execute(_HELD, {"now": now}).all())


def set_fact(connection: Connection, target: str, name: str, value: str) -> None:
    connection.execute(_REMEMBER[connection.dialect.name], {"target": target, "name": name, "value": value})


def read_fact(connection: Connection, target: str, name: str) -> str | None:
    return connection.execute(_RECALL, {"of_target": target, "of_name": name}).scalar()
