"""`python -m docuchat_knowledge ensure-space`: the last step of the migration job."""

from __future__ import annotations

import argparse
import asyncio
import sys

import asyncpg

from docuchat_common.settings import PostgresUrl, load_settings
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.opening import find_space
from docuchat_models.settings import EmbeddingSettings


class SpaceSettings(EmbeddingSettings):
    """The owner's address beside the choice of the model."""

    owner_database_url: PostgresUrl


async def _ensure_space(settings: SpaceSettings) -> None:
    space = await find_space(settings)
    connection = await asyncpg.connect(settings.owner_database_url, command_timeout=None)
    try:
        space_id = await ensure_space(connection, space, vector_weight=settings.embedding_vector_weight)
    finally:
        await connection.close()
    before = ", ".join(repr(prefix) for prefix in (space.prefixes.query, space.prefixes.passage) if prefix)
    asked = f" with {before} before the texts" if before else ""
    sys.stdout.write(f"embedding space {space_id}: {space.provider} {space.model} {space.dimension}{asked}\n")


def main() -> None:
    """Read the command and the environment once, then run."""
    parser = argparse.ArgumentParser(prog="docuchat_knowledge", description="Set-up of schema knowledge.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ensure-space", help="make the embedding space of the settings and its index (idempotent)")
    parser.parse_args()
    asyncio.run(_ensure_space(load_settings(SpaceSettings)))


if __name__ == "__main__":
    main()
