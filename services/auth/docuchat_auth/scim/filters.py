"""Filters and patches (RFC 7644 §3.4.2.2, §3.5.2), as directories send them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal
from uuid import UUID

import orjson

from docuchat_auth.scim.domain import MOST_MEMBERS, Filter, GroupChange, MemberChange, UserChange
from docuchat_auth.scim.errors import ScimInvalidFilter, ScimInvalidPath, ScimInvalidSyntax, ScimInvalidValue
from docuchat_common.text import UNSAFE, one_line

_EQUALS: Final = re.compile(r'\s*([A-Za-z.:0-9]+)\s+eq\s+("(?:[^"\\\x00-\x1f]|\\.){0,300}")\s*\Z', re.IGNORECASE)
_MEMBER: Final = re.compile(r'members\[\s*value\s+eq\s+"([^"\\]{1,100})"\s*\]\Z', re.IGNORECASE)
_ATTRIBUTES: Final[Mapping[str, Literal["id", "name", "external_id"]]] = {
    "id": "id",
    "username": "name",
    "emails.value": "name",
    "displayname": "name",
    "externalid": "external_id",
}
_LONGEST_NAME: Final = 200
_LONGEST_EXTERNAL_ID: Final = 300


def parse_filter(text: str | None) -> Filter | None:
    """None where nothing is asked for. Raises ScimInvalidFilter."""
    if text is None or not text.strip():
        return None
    match = _EQUALS.match(text)
    attribute = None if match is None else _ATTRIBUTES.get(match[1].rpartition(":")[2].lower())
    if match is None or attribute is None:
        raise ScimInvalidFilter
    try:
        value = str(orjson.loads(match[2]))
    except orjson.JSONDecodeError as error:
        raise ScimInvalidFilter from error
    if UNSAFE.search(value):
        raise ScimInvalidFilter
    return Filter(attribute, value)


def read_user(resource: Mapping[str, Any]) -> UserChange:
    """What a resource, or the value of a patch without a path, says of a user. Raises ScimInvalidValue."""
    said = {name.lower(): value for name, value in resource.items()}
    parts = said.get("name") if isinstance(said.get("name"), dict) else {}
    parts = {name.lower(): value for name, value in (parts or {}).items()}
    parts |= {name.partition(".")[2]: value for name, value in said.items() if name.startswith("name.")}
    name = said.get("displayname") or parts.get("formatted")
    if not name:
        name = " ".join(str(parts[part]) for part in ("givenname", "familyname") if parts.get(part))
    return UserChange(
        _text(said.get("username"), "userName"),
        _text(name, "displayName"),
        None if said.get("active") is None else _flag(said["active"]),
        _text(said.get("externalid"), "externalId", _LONGEST_EXTERNAL_ID),
    )


def read_group(resource: Mapping[str, Any], *, is_whole: bool = True) -> GroupChange:
    """What a resource, or the value of a patch without a path, says of a group. Raises ScimInvalidValue."""
    said = {name.lower(): value for name, value in resource.items()}
    members = MemberChange()
    if is_whole or "members" in said:
        members = MemberChange(replaces=_ids(said.get("members") or ()))
    return GroupChange(
        _text(said.get("displayname"), "displayName"),
        _text(said.get("externalid"), "externalId", _LONGEST_EXTERNAL_ID),
        members,
    )


def read_user_patch(operations: Iterable[tuple[str, str | None, Any]]) -> UserChange:
    """What the operations come to; what is of no interest here is passed over. Raises the errors of SCIM."""
    said: dict[str, Any] = {}
    for verb, path, value in operations:
        if verb == "remove":
            continue  # nothing that is kept can be taken away
        if path is None:
            said |= {name.lower(): one for name, one in _object(value).items()}
        else:
            said[path.rpartition(":")[2].lower()] = value
    return read_user(said)


def read_group_patch(operations: Iterable[tuple[str, str | None, Any]]) -> GroupChange:
    """What the operations come to. Raises the errors of SCIM."""
    name = external_id = None
    members = MemberChange()
    for verb, path, value in operations:
        if path is None:
            change = read_group(_object(value), is_whole=False)
            name, external_id = change.name or name, change.external_id or external_id
            if change.members.replaces is not None:
                members = _combined(members, verb, change.members.replaces)
            continue
        plain = path.rpartition(":")[2].lower()
        if (match := _MEMBER.match(path)) is not None:
            members = _combined(members, verb, _ids(match[1]))
        elif plain == "members":
            is_all = verb == "remove" and not value
            members = MemberChange(replaces=frozenset()) if is_all else _combined(members, verb, _ids(value or ()))
        elif plain == "displayname" and verb != "remove":
            name = _text(value, "displayName")
        elif plain == "externalid" and verb != "remove":
            external_id = _text(value, "externalId", _LONGEST_EXTERNAL_ID)
        else:
            raise ScimInvalidPath
    return GroupChange(name, external_id, members)


def _combined(before: MemberChange, verb: str, ids: frozenset[UUID]) -> MemberChange:
    """As if one operation came after the other."""
    if verb == "replace":
        return MemberChange(replaces=ids)
    if before.replaces is not None:
        return MemberChange(replaces=before.replaces | ids if verb == "add" else before.replaces - ids)
    if verb == "add":
        return MemberChange(before.adds | ids, before.removes - ids)
    return MemberChange(before.adds - ids, before.removes | ids)


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ScimInvalidSyntax("A patch without a path needs an object as its value.")
    return value


def _text(value: object, name: str, longest: int = _LONGEST_NAME) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > longest or one_line(value) != value:
        raise ScimInvalidValue(f"`{name}` is a text of one line, of at most {longest} characters.")
    return value


def _flag(value: object) -> bool:
    """Entra sends texts."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise ScimInvalidValue("`active` is true or false.")


def _ids(values: object) -> frozenset[UUID]:
    listed = values if isinstance(values, list | tuple) else [values]
    if len(listed) > MOST_MEMBERS:
        raise ScimInvalidValue(f"A request names at most {MOST_MEMBERS} members.")
    try:
        return frozenset(UUID(str(one["value"] if isinstance(one, dict) else one)) for one in listed)
    except (KeyError, ValueError) as error:
        raise ScimInvalidValue("A member is named by the `id` of its user.") from error
