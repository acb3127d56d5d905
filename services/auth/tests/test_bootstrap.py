from docuchat_auth.bootstrap import open_container
from docuchat_auth.settings import Settings


async def test_all_that_must_go_on_beside_the_requests_is_started(auth_environment: dict[str, str]) -> None:
    values = {name if name == "JWT_SECRET" else name.lower(): value for name, value in auth_environment.items()}
    async with open_container(Settings.model_validate({**values, "mail_workers": 2})) as container:
        assert container.background == {
            "relay", "refresh_tokens.sweep", "revisions.sweep",
            "idempotency_keys.sweep", "codes.delivery.0", "codes.delivery.1", "invitations.delivery",
        }  # fmt: skip
