"""Write the JSON schemas of the catalogue, and the AsyncAPI document made from them, beside this file."""

import json
from pathlib import Path

from docuchat_common.events.asyncapi import asyncapi_document
from docuchat_common.events.catalogue import json_schemas

SCHEMAS = Path(__file__).parent / "schemas"


def main() -> None:
    """Refresh the committed files."""
    SCHEMAS.mkdir(exist_ok=True)
    for event_type, schema in json_schemas().items():
        (SCHEMAS / f"{event_type}.json").write_text(json.dumps(schema, indent=2, sort_keys=True) + "\n")
    (SCHEMAS / "asyncapi.json").write_text(json.dumps(asyncapi_document(), indent=2) + "\n")


if __name__ == "__main__":
    main()
