"""The paths of the chatbot platform; its `/auth/register` is as IndiflyChat's."""

from typing import Final

from docuchat_gateway.edge.aliases.alias import Alias

ALIASES: Final = (Alias("/auth/token", ("POST",), "/v1/auth/token"),)
