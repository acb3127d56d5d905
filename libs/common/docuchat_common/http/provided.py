"""What the service's container holds, as an argument of a route."""

from functools import cache
from operator import attrgetter
from typing import Any

from fastapi import Depends, Request


@cache
def provided(name: str) -> Any:
    """Make a dependency that is what the container holds by `name`; dots lead on (`settings.public_url`).

    A route takes it as `Annotated[Members, provided("members")]`.
    """
    find = attrgetter(name)

    async def found(request: Request) -> Any:
        return find(request.app.state.container)

    vars(found)["provided"] = name
    return Depends(found)
