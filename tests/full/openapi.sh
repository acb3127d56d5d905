#!/usr/bin/env bash
# Lints the served OpenAPI document and compiles clients that are generated from it. Needs npx and pip, and their registries.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/.venv/bin/python" "$root/services/gateway/scripts/dump_openapi.py" >"$work/openapi.json"
cd "$work"

echo "redocly, recommended rules"
# these two send a browser on, and answer nothing else
cat >.redocly.lint-ignore.yaml <<'END'
openapi.json:
  operation-2xx-response:
    - '#/paths/~1v1~1auth~1oidc~1callback~1{provider_id}/get/responses'
    - '#/paths/~1v1~1auth~1oidc~1{tenant}~1{provider_id}~1start/get/responses'
END
npx --yes @redocly/cli@2 lint openapi.json --extends=recommended --max-problems=1000 >redocly.log 2>&1 || { cat redocly.log; exit 1; }
if grep -qE "You have [0-9]+ warning" redocly.log; then cat redocly.log; exit 1; fi

echo "spectral, recommended rules"
echo 'extends: ["spectral:oas"]' >.spectral.yaml
npx --yes @stoplight/spectral-cli@6 lint openapi.json --ruleset .spectral.yaml --fail-severity=hint

echo "a TypeScript client compiles"
npx --yes openapi-typescript@7 openapi.json --output api.ts >/dev/null
npx --yes --package typescript@5 tsc --noEmit --strict api.ts

echo "a Python client compiles"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check openapi-python-client mypy
printf 'content_type_overrides:\n  application/pdf: application/octet-stream\n  application/zip: application/octet-stream\npost_hooks: []\n' >config.yml
python/bin/openapi-python-client generate --path openapi.json --config config.yml --meta none \
  --output-path docuchat_generated --fail-on-warning
python/bin/pip install --quiet --disable-pip-version-check httpx attrs python-dateutil types-python-dateutil
python/bin/mypy --ignore-missing-imports docuchat_generated
python/bin/python -m compileall -q docuchat_generated
echo "OpenAPI: clean"
