"""Parameters of requests: those that are taken, those whose default alone is, and those that nobody knows."""

from __future__ import annotations

import json
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, WithJsonSchema, model_validator

from docuchat_chat.openai_api.errors import UnsupportedParameter
from docuchat_common.contracts.frames import DocumentIds, SessionId
from docuchat_common.http.json_body import StrictBody
from docuchat_common.ids import CollectionId, DocumentId


def only(*values: Any) -> Any:
    """Make the type of a parameter of which nothing but its default is taken: null, or one of `values`."""
    taken = (None, *values)

    def check(value: Any, info: ValidationInfo) -> Any:
        # a flag is no number, although Python takes `true` for 1
        if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in taken):
            raise UnsupportedParameter.named(str(info.field_name))
        return value

    told = " or ".join(f"`{json.dumps(value)}`" for value in (*values, None))
    described = {
        "description": f"Not supported: nothing but its default is taken, {told}.",
        **({"anyOf": [*map(_schema_of, values), {"type": "null"}]} if values else {"type": "null"}),
    }
    return Annotated[Any, AfterValidator(check), WithJsonSchema(described)]


def _schema_of(value: Any) -> dict[str, Any]:
    """Return a schema of one value, as generators of clients understand it: they know enumerations of texts alone."""
    match value:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "number", "minimum": value, "maximum": value}
        case str():
            return {"type": "string", "enum": [value]} if value else {"type": "string", "maxLength": 0}
        case list():
            return {"type": "array", "maxItems": len(value), "items": _schema_of(value[0]) if value else {}}
        case _:
            fields = {name: _schema_of(each) for name, each in value.items()}
            return {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}


Ignored = Annotated[Any, Field(description="Taken, and without effect.")]


class OpenAIBody(BaseModel):
    """A body of which nothing is passed over in silence: what is not supported is refused by its name."""

    model_config = ConfigDict(
        extra="allow", frozen=True, hide_input_in_errors=True, json_schema_extra={"additionalProperties": False}
    )

    @model_validator(mode="after")
    def _refuse_unknown(self) -> Self:
        for name in self.model_extra or ():
            raise UnsupportedParameter.named(name[:100])
        return self


class Extension(StrictBody):
    """What is asked besides, in the product's own words."""

    session_id: SessionId | None = Field(
        default=None, description="As of `POST /v1/chat`: the questions of one session are kept as one chat."
    )
    documents: DocumentIds | None = Field(default=None, description="Answer from these documents only.")
    collection_id: CollectionId | None = Field(default=None, description="Answer from this collection only.")

    @property
    def document_ids(self) -> tuple[DocumentId, ...] | None:
        """The documents."""
        return None if self.documents is None else tuple(map(DocumentId, self.documents))
