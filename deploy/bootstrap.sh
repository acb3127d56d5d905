#!/usr/bin/env bash
# Makes .venv: every locked dependency with its hash checked, and all packages of this repository, editable.
# Does nothing when neither the lock nor a pyproject.toml has changed since the last time.
set -euo pipefail
cd "$(dirname "$0")/.."
projects=(libs/common libs/models libs/knowledge libs/client services/gateway services/auth services/ingest-worker
          services/chat services/usage deploy/setup deploy/local tests/testkit)
wanted=$(cat requirements.lock deploy/bootstrap.sh "${projects[@]/%//pyproject.toml}" | sha256sum | cut -d' ' -f1)
[ "$(cat .venv/.bootstrapped 2>/dev/null)" != "$wanted" ] || exit 0

fail() { echo "cannot set up: $*" >&2; exit 1; }
is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && is_recent "$candidate" && can_make_venv "$candidate"; then echo "$candidate"; return; fi
  done
  return 1
}
python=$(find_python || true)
if [ -z "$python" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "... installing python3 and python3-venv"
    DEBIAN_FRONTEND=noninteractive apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3 python3-venv >/dev/null
    python=$(find_python || true)
  fi
  [ -n "$python" ] || fail "Python 3.11 or newer with its venv module is needed; on Debian or Ubuntu:" \
    "sudo apt-get install python3 python3-venv (or set PYTHON to one)"
fi
if ! is_recent .venv/bin/python; then
  echo "... making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi
if ! .venv/bin/python -c 'import uv' 2>/dev/null; then
  # uv's own entry of the lock: the line of its version and the hashes that follow it
  sed -n '/^uv==/,/[^\\]$/p' requirements.lock >.venv/uv.lock
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement .venv/uv.lock
fi
echo "... installing the locked dependencies: some 10 s, the first time or on a slow line a minute or more"
uv=(.venv/bin/uv pip install --quiet --python .venv/bin/python)
"${uv[@]}" --require-hashes --requirement requirements.lock
"${uv[@]}" --no-deps --no-build-isolation --reinstall "${projects[@]/#/--editable=./}"
echo "$wanted" >.venv/.bootstrapped
