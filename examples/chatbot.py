"""A chatbot by the Python client: made, filled, tried as a draft, published, and asked with its own secret key.

    .venv/bin/docuchat login --email user@example.com --tenant 1
    .venv/bin/python examples/chatbot.py document.pdf --question "How many days of paid leave are there?"

Takes the sign-in that `docuchat login` keeps; who makes chatbots is an admin or owner of the tenant.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from docuchat_client import AsyncDocuChat, DocuChatError, FileCredentials

DEFAULT_DOCUMENT = Path(__file__).parent / "documents" / "handbook-en.pdf"


async def run(options: argparse.Namespace) -> None:
    """The whole life of a chatbot."""
    kept = FileCredentials().load()
    if kept is None:
        sys.exit("Sign in first: docuchat login")
    async with AsyncDocuChat(kept.server, tenant=kept.tenant, credentials=FileCredentials()) as client:
        fields = {"greeting": "How can I help?", "answer_policy": {"citations_required": True}}
        made = await client.create_chatbot(options.name, fields)
        if made.secret_key is None:
            await client.delete_chatbot(made.id)
            sys.exit("Its key is shown after a sign-in of the last 15 minutes: docuchat login, then repeat")
        print(f"Made {made.name}, which pages call {made.publishable_id}")
        document = await client.upload_to_chatbot(made.id, options.document)
        document = await client.wait_until_settled(document.id, timeout=120)
        print(f"{document.filename} is {document.status}")

        draft = await client.query_chatbot(made.id, options.question, version="draft")
        print(f"\n> {options.question}\nThe draft: {draft.answer}")
        version = await client.publish_chatbot(made.id)
        print(f"\nPublished as version {version.version}")

        async with (
            AsyncDocuChat(kept.server, api_key=made.secret_key) as program,
            program.stream_public(made.publishable_id, options.question, session_id="example") as answer,
        ):
            async for word in answer.text():
                print(word, end="", flush=True)
            print(f"\n  by version {answer.chatbot_version}")
            for citation in answer.citations:
                print(f'  [{citation.number}] {citation.title}, p. {citation.page}: "{citation.quote[:120]}"')
        if options.clean_up:
            await client.delete_chatbot(made.id)
            print("Deleted the chatbot with its document and chats")


def main() -> None:
    """Parse the command line and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path, nargs="?", default=DEFAULT_DOCUMENT)
    parser.add_argument("--name", default="Example")
    parser.add_argument("--question", default="How many days of paid leave does every employee have?")
    parser.add_argument("--clean-up", action="store_true", help="delete the chatbot at the end")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except DocuChatError as error:
        sys.exit(f"{error.message} [{error.code}]")


if __name__ == "__main__":
    main()
