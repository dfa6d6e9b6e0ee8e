#!/bin/sh
# Makes this folder ready to work in. Safe to run again and again: it does only what is missing.
#
#   scripts/setup.sh venv        everything that requirements-dev.lock names, and the command casebridge, into .venv
#   scripts/setup.sh java        a JDK (17 or newer) and Maven, for the tests that ask HAPI: its validator, its server
#   scripts/setup.sh postgres    PostgreSQL, for the tests of the outbox in it
#
# PYTHON=/path/to/python3 names the interpreter (3.11 or newer). Where it runs as root on Debian or Ubuntu it installs
# missing system packages with apt-get; elsewhere it says in one sentence what to install. `java` and `postgres` go on without.
set -eu
unset CDPATH
cd -- "$(dirname -- "$0")/.."

venv=.venv
place=$venv/.casebridge-place
stamp=$venv/.casebridge-setup
lock=requirements-dev.lock
apt_is_fresh=

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

apt_install() {
  say "installing with apt-get: $*"
  if [ -z "$apt_is_fresh" ]; then
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update >/dev/null || return 1
    apt_is_fresh=yes
  fi
  # What apt-get does goes nowhere; what it complains of is on stderr.
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
    install --no-install-recommends "$@" </dev/null >/dev/null
}

# --- Python ---------------------------------------------------------------------------------------------------------

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# python3 first: it is the one whose venv support a system most likely has.
find_python() {
  if [ -n "${PYTHON:-}" ]; then
    is_new_enough "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 or newer."
    printf '%s\n' "$PYTHON"
    return
  fi
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if is_new_enough "$name"; then
      printf '%s\n' "$name"
      return
    fi
  done
  die "Python 3.11 or newer is needed: install it (Debian, Ubuntu: apt-get install python3.11 python3.11-venv)" \
    "or name it: make PYTHON=/path/to/python3"
}

can_make_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Debian keeps what `python3 -m venv` needs in a package of its own.
need_venv_support() {
  can_make_venv "$1" && return
  package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if can_apt; then
    apt_install "$package" || die "apt-get could not install $package: install it by hand, then run this again."
  fi
  can_make_venv "$1" || die "$1 cannot make virtual environments: as root, install the package $package."
}

# .venv serves as it is where it was made in this place (its scripts hold full paths) and its interpreter still runs and
# is of the version that was asked for.
venv_serves() {
  [ "$(cat "$place" 2>/dev/null)" = "$(pwd -P)" ] || return 1
  [ -x "$venv/bin/python" ] || return 1
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || return 1
  [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of "$venv/bin/python")" ]
}

version_of() { "$1" -c 'import platform; print(platform.python_version())'; }

# What the content of .venv depends on.
fingerprint() { cat "$lock" pyproject.toml | cksum; }

is_current() { venv_serves && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint)" ]; }

setup_venv() {
  is_current && return
  if ! venv_serves; then
    python=$(find_python)
    need_venv_support "$python"
    say "making $venv with Python $(version_of "$python") ($(command -v "$python"))"
    "$python" -m venv --clear "$venv" || die "$python -m venv failed: see above."
    pwd -P >"$place"
  fi
  rm -f "$stamp"
  say "installing what $lock names (the first time this takes a minute)"
  pip_install --require-hashes -r "$lock"
  pip_install --no-build-isolation --editable .
  fingerprint >"$stamp"
  say "ready: $venv/bin/casebridge"
}

# The lock is complete, so nothing is to be resolved, and nothing beside it comes in.
pip_install() {
  "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --quiet --no-deps "$@" >&2
}

# --- Java -----------------------------------------------------------------------------------------------------------

has_jdk() {
  major=$(javac -version 2>&1 | sed -n 's/^javac \([0-9][0-9]*\).*/\1/p')
  [ "${major:-0}" -ge 17 ]
}

has_maven() { command -v mvn >/dev/null 2>&1; }

setup_java() {
  has_jdk && has_maven && return
  if can_apt; then
    has_jdk || apt_install default-jdk-headless || true
    # The default of an older release (Ubuntu 22.04) is 11.
    has_jdk || apt_install openjdk-17-jdk-headless || true
    has_maven || apt_install maven || true
  fi
  has_jdk && has_maven && return
  say "no JDK 17 or newer with Maven here: the tests that need them will not run" \
    "(Debian, Ubuntu, as root: apt-get install default-jdk-headless maven)."
}

# --- PostgreSQL -----------------------------------------------------------------------------------------------------

# Debian keeps it off the PATH, in a folder for each version.
has_postgres() { command -v pg_ctl >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1; }

# Debian's package would make and start a cluster of the system's, which nobody here wants: the tests make their own.
install_postgres() {
  no_cluster=/etc/postgresql-common/createcluster.d/casebridge.conf
  mkdir -p "${no_cluster%/*}"
  echo "create_main_cluster = false" >"$no_cluster"
  apt_install postgresql || true
  rm -f "$no_cluster"
}

setup_postgres() {
  has_postgres && return
  ! can_apt || install_postgres
  has_postgres && return
  say "no PostgreSQL here: the tests that need it will not run (Debian, Ubuntu, as root: apt-get install postgresql)."
}

[ $# -gt 0 ] || set -- venv
for step in "$@"; do
  case $step in
    venv) setup_venv ;;
    java) setup_java ;;
    postgres) setup_postgres ;;
    *) die "unknown step '$step': venv, java or postgres" ;;
  esac
done
