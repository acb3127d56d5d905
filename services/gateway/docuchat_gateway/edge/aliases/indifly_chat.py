"""The paths of IndiflyChat."""

from typing import Final

from docuchat_gateway.edge.aliases.alias import Alias

ALIASES: Final = (
    Alias("/auth/register", ("POST",), "/v1/auth/register"),
    Alias("/auth/login", ("POST",), "/v1/auth/login"),
    Alias("/users/me", ("GET",), "/v1/users/me"),
)
