"""Documents of a chatbot and files of a chat, from the upload to what is left of them: nothing."""

from __future__ import annotations

from typing import Any

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, answer_text, small_pdf

PARROT, MOTOR = "The parrot of the shop is called Coco.", "The motor of the pump is painted blue."


async def put(user: User, path: str, text: str) -> dict[str, Any]:
    """Upload a page of text, and wait until it is ready."""
    file = {"file": ("page.pdf", small_pdf((text,)), "application/pdf")}
    response = await user.http.post(path, files=file)
    assert response.status_code == 202, response.text
    document = await user.settled(response.json()["id"])
    assert document["status"] == "ready", document
    return document


async def test_a_chatbot_answers_from_its_own_documents_and_takes_them_with_it(product: Product) -> None:
    async with product.user(await product.new_tenant()) as owner:
        made = await owner.http.post("/v1/chatbots", json={"name": "Shop"})
        assert made.status_code == 201, made.text
        chatbot = made.json()
        document = await put(owner, f"/v1/chatbots/{chatbot['id']}/documents", PARROT)
        assert document["collection_id"] == chatbot["id"]
        published = await owner.http.post(f"/v1/chatbots/{chatbot['id']}/publish")
        assert published.status_code in (200, 201), published.text

        # the key of the chatbot may read nothing of the tenant, and is answered from what the version names
        async with product.client(headers={"X-API-Key": chatbot["secret_key"]}) as program:
            asked = await program.post(
                f"/v1/public/chatbots/{chatbot['id']}/query", json={"question": "What is the parrot called?"}
            )
            assert asked.status_code == 200, asked.text
            assert "Coco" in asked.json()["answer"]
            assert {citation["document_id"] for citation in asked.json()["citations"]} == {document["id"]}
            assert (await program.get(f"/v1/files/{document['id']}")).status_code == 403

        refused = await owner.http.delete(f"/v1/collections/{chatbot['id']}?documents=delete")
        assert refused.status_code == 409, refused.text
        deleted = await owner.http.delete(f"/v1/chatbots/{chatbot['id']}")
        assert deleted.status_code == 204, deleted.text

        async def nothing_is_left() -> None:
            for path in (f"/v1/files/{document['id']}", f"/v1/collections/{chatbot['id']}"):
                assert (await owner.http.get(path)).status_code == 404

        await eventually(nothing_is_left)


async def test_a_file_of_a_chat_is_asked_of_there_alone_and_goes_with_it(product: Product) -> None:
    async with product.user(await product.new_tenant()) as user:
        attached = await put(user, "/v1/attachments", MOTOR)
        question = "Which colour is the motor of the pump painted?"
        frames = await user.ask(question, attachments=[attached["id"]], session_id="s")
        assert "blue" in answer_text(frames), frames
        assert "blue" in answer_text(await user.ask(question, session_id="s")), "later questions of the chat, too"
        assert "blue" not in answer_text(await user.ask(question, session_id="other"))
        assert await user.search("motor of the pump") == []
        assert (await user.http.get("/v1/files")).json()["items"] == []

        chat_id = frames[0]["chat_id"]
        (asked, *_) = (await user.http.get(f"/v1/chats/{chat_id}")).json()["messages"]
        assert asked["attachments"] == [{"id": attached["id"], "title": "page", "filename": "page.pdf"}]
        assert (await user.http.delete(f"/v1/chats/{chat_id}")).status_code == 204

        async def it_is_gone() -> None:
            assert (await user.http.get(f"/v1/files/{attached['id']}")).status_code == 404

        await eventually(it_is_gone)
