"""Named SQL: `queries.sql` beside a module, loaded by aiosql; a block's name is the repository method's name."""

from importlib.resources import as_file, files
from typing import Any

import aiosql


def load_queries(package: str, filename: str = "queries.sql") -> Any:
    """The queries of `package`'s SQL file as async functions of (connection, *, named parameters).

    Typed `Any` because aiosql makes the functions at run time; repositories give them their types.
    """
    with as_file(files(package).joinpath(filename)) as path:
        return aiosql.from_path(path, "asyncpg", mandatory_parameters=False)
