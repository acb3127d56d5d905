"""The published contracts as strangers' tools see them: linters, validators, generators of clients."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from docuchat_gateway.edge.socket_document import socket_document
from docuchat_testkit.vocabulary import repository_root

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

EVENTS = repository_root() / "libs" / "common" / "docuchat_common" / "events" / "schemas" / "asyncapi.json"
_VALIDATE = """
const { Parser } = require('@asyncapi/parser');
const text = require('fs').readFileSync(process.argv[2], 'utf8');
new Parser().parse(text).then(({ document, diagnostics }) => {
  const found = diagnostics.filter((it) => it.severity === 0);
  for (const it of found) console.error(it.code, it.message, it.path.join('.'));
  process.exit(document && !found.length ? 0 : 1);
});
"""


def test_the_openapi_document_is_clean_and_clients_made_from_it_compile(with_node: dict[str, str]) -> None:
    script = repository_root() / "tests" / "full" / "openapi.sh"
    done = subprocess.run(["bash", str(script)], env=with_node, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("text", [EVENTS.read_text(), json.dumps(socket_document())], ids=["events", "socket"])
def test_the_asyncapi_documents_are_valid_and_broken_copies_are_not(
    with_node: dict[str, str], tmp_path: Path, text: str
) -> None:
    (tmp_path / "validate.js").write_text(_VALIDATE)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "@asyncapi/parser@3"]
    subprocess.run(install, cwd=tmp_path, env=with_node, check=True, capture_output=True)
    document = tmp_path / "asyncapi.json"
    for is_broken in (False, True):
        document.write_text(text.replace('"address"', '"adress"') if is_broken else text)
        validate = ["node", "validate.js", str(document)]
        done = subprocess.run(validate, cwd=tmp_path, env=with_node, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == is_broken, done.stderr[-3000:]
