"""Postgres: pools that refuse powerful roles, the tenant-scoped unit of work, named queries, migrations."""

from docuchat_common.db.pool import Database, Deadlocked, RoleTooPowerful
from docuchat_common.db.queries import load_queries
from docuchat_common.db.uow import UnitOfWork

__all__ = ["Database", "Deadlocked", "RoleTooPowerful", "UnitOfWork", "load_queries"]
