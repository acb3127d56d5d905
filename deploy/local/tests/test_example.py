"""`.env.example` against the settings that the services really read."""

from importlib import import_module

import pytest
from pydantic_core import PydanticUndefined

from docuchat_local.environment import ROOT, known_names, read_settings

PACKAGES = ("docuchat_gateway", "docuchat_auth", "docuchat_ingest", "docuchat_chat", "docuchat_usage")
# made by whoever starts the services, not by whoever configures them
ADDRESSES = {"AUTH_URL", "CHAT_URL", "USAGE_URL", "INGEST_URL", "SYSTEM_DATABASE_URL", "PORT", "LISTEN_FD"}
# values of a machine of one's own, where production is the default of the services
LOCAL = {"ENVIRONMENT"}


def settings_of(package: str):
    return import_module(f"{package}.settings").Settings


@pytest.mark.parametrize("package", PACKAGES)
def test_every_setting_is_explained(package):
    fields = {name.upper() for name in settings_of(package).model_fields}
    assert fields - ADDRESSES - known_names(ROOT / ".env.example") == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_values_shown_are_the_defaults(package):
    shown = read_settings(ROOT / ".env.example", {})
    for name, field in settings_of(package).model_fields.items():
        if name.upper() in shown.keys() - LOCAL and field.default is not PydanticUndefined:
            assert shown[name.upper()] == str(field.default), name
