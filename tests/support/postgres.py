"""A real PostgreSQL: a cluster of one's own in a temporary folder, on loopback, with a database for each who asks.

PostgreSQL refuses to run as root: there the user `postgres`, whom its packages make, runs it.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg

OWNER: Final = "casebridge"
# Nothing of it survives anyway, so nothing waits for the disk.
_OPTIONS: Final = (
    "-F -c synchronous_commit=off -c full_page_writes=off -c listen_addresses=127.0.0.1 -c unix_socket_directories="
)
# It lives as long as its input is held open: also a session that was killed leaves no server and no folder behind.
_SCRIPT: Final = r"""
"$1/initdb" -D "$2/data" -U "$3" -A trust -E UTF8 --no-locale --no-sync >"$2/log" 2>&1 &&
"$1/pg_ctl" -D "$2/data" -w -l "$2/log" -o "$4" start >/dev/null 2>&1 && echo ready || cat "$2/log"
exec >&-
cat >/dev/null
"$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1
cd / && rm -rf "$2"
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running PostgreSQL on 127.0.0.1, in a folder that goes with it; everyone on this machine may enter it as its owner."""

    port: int
    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The SQLAlchemy URL of an empty database, which goes with the block, whoever is still connected to it."""
        name = f"test{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name}")
        try:
            yield f"postgresql+psycopg://{OWNER}@127.0.0.1:{self.port}/{name}"
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with psycopg.connect(host="127.0.0.1", port=self.port, user=OWNER, dbname="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())


def available() -> str | None:
    """Why PostgreSQL cannot run, or None where it can: the reason a test gives for its skip."""
    if _programs() is None:
        return "no PostgreSQL here (Debian, Ubuntu, as root: apt-get install postgresql)"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


@contextmanager
def running() -> Iterator[Cluster]:
    """A cluster that ends with the block, and also with this process. Raises RuntimeError with its log if it did not start."""
    programs, user = _programs(), _user()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="casebridge-postgres-"))
    uid, gid = (user.pw_uid, user.pw_gid) if user else (None, None)
    if uid is not None and gid is not None:
        os.chown(folder, uid, gid)
    port = _free_port()
    with subprocess.Popen(
        ["sh", "-c", _SCRIPT, "sh", str(programs), str(folder), OWNER, f"{_OPTIONS} -p {port}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        user=uid,
        group=gid,
        extra_groups=None if user is None else [],
        # In a session of its own, or Ctrl-C would end it before those who still use it.
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read().decode(errors="replace")
        if said != "ready\n":
            raise RuntimeError(f"PostgreSQL did not start: {said}")
        yield Cluster(port, folder)


def _programs() -> Path | None:
    """Where initdb and pg_ctl are. Debian keeps them off the PATH, one folder for each version: the newest."""
    path = shutil.which("pg_ctl")
    if path is not None:
        return Path(path).resolve().parent
    found = Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    return max((pg_ctl.parent for pg_ctl in found), key=lambda folder: float(folder.parent.name), default=None)


def _user() -> pwd.struct_passwd | None:
    """The user who runs it instead of us, where we are root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
