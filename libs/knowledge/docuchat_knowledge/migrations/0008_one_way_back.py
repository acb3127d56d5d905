"""One way back into the queue, to a live document, and to ask which workers are alive."""

from pathlib import Path

from alembic import op

from docuchat_common.db.ddl import forward_only, presence_ddl

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

GRANTS = """
REVOKE ALL ON FUNCTION knowledge.requeue_v1, knowledge.live_document_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION knowledge.requeue_v1 TO docuchat_gateway, docuchat_gateway_system, docuchat_ingest_system;
GRANT EXECUTE ON FUNCTION knowledge.live_document_v1 TO docuchat_chat;
"""


def upgrade() -> None:
    """Functions are added, and nothing is taken away: processes of the version before go on with statements of theirs."""
    for name in ("requeue", "live_document"):
        op.execute((Path(__file__).parent / "sql" / f"{name}_v1.sql").read_text("utf-8"))
    op.execute(GRANTS)
    op.execute(presence_ddl("knowledge", roles=("docuchat_ingest_system",)))


downgrade = forward_only
