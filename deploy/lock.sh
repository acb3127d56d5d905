#!/usr/bin/env bash
# Resolves every package of this repository into requirements.lock: hashed, and free of index addresses.
set -euo pipefail
cd "$(dirname "$0")/.."
projects=(libs/common libs/models libs/knowledge libs/client services/gateway services/auth services/ingest-worker
          services/chat services/usage deploy/setup deploy/local tests/testkit)
own=()
input=$(mktemp)
trap 'rm -f "$input"' EXIT
cat deploy/dev.in >"$input"
for project in "${projects[@]}"; do
  echo "-e ./$project" >>"$input"
  own+=(--no-emit-package "$(sed -n 's/^name = "\(.*\)"/\1/p' "$project/pyproject.toml")")
done
cp "$input" .lock.in
trap 'rm -f "$input" .lock.in' EXIT
.venv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
  --python-version 3.11 --universal "${own[@]}" --output-file requirements.lock "$@" .lock.in
