"""What the set-up is told by its environment; every missing variable is named at once."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from docuchat_common.messaging.topology import SERVICES
from docuchat_setup.errors import SetupError
from docuchat_setup.roles import OWNER, app_role, role_names, system_role
from docuchat_setup.topology import StreamLimits


@dataclass(frozen=True, slots=True)
class Environment:
    """Reads variables; what a command needs is asked for together."""

    variables: Mapping[str, str]

    @classmethod
    def of_process(cls) -> "Environment":
        """The variables of this process."""
        return cls(os.environ)

    def need(self, *names: str) -> list[str]:
        """The values of `names`; SetupError that names all that are missing."""
        missing = [name for name in names if not self.variables.get(name)]
        if missing:
            raise SetupError(f"set {', '.join(missing)}")
        return [self.variables[name] for name in names]

    def find(self, name: str) -> str | None:
        """The value of `name`, if it is set."""
        return self.variables.get(name) or None

    def database_url(self, name: str) -> str:
        """The address in `name`, without SQLAlchemy's `+asyncpg`."""
        return self.need(name)[0].replace("postgresql+asyncpg://", "postgresql://", 1)

    def role_passwords(self) -> dict[str, str]:
        """The password of every database role."""
        names = {OWNER: "OWNER_DATABASE_PASSWORD"}
        for service in SERVICES:
            names[app_role(service)] = f"{service.upper()}_DATABASE_PASSWORD"
            names[system_role(service)] = f"{service.upper()}_SYSTEM_DATABASE_PASSWORD"
        wanted = role_names()
        return dict(zip(wanted, self.need(*(names[role] for role in wanted)), strict=True))

    def broker_passwords(self) -> dict[str, str]:
        """The password of each service's broker login."""
        return dict(zip(SERVICES, self.need(*(f"{name.upper()}_RABBITMQ_PASSWORD" for name in SERVICES)), strict=True))

    def stream_limits(self) -> StreamLimits:
        """How long the usage stream keeps events."""
        default = StreamLimits()
        size = self.find("USAGE_STREAM_MAX_BYTES") or str(default.max_bytes)
        if not size.isdecimal():
            raise SetupError(f"USAGE_STREAM_MAX_BYTES is {size!r}, not a number of bytes")
        age = self.find("USAGE_STREAM_MAX_AGE") or default.max_age
        if not re.fullmatch(r"\d+[YMDhms]", age):
            raise SetupError(f"USAGE_STREAM_MAX_AGE is {age!r}, not a number with Y, M, D, h, m or s, like 30D")
        return StreamLimits(age, int(size))
