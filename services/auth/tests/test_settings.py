"""What the environment may say, and the messages when it says something else."""

from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.adapters.mail import open_mailer
from docuchat_auth.settings import Settings
from docuchat_common.settings import load_settings

COMPLETE = {
    "ENVIRONMENT": "local",
    "DATABASE_URL": "postgresql+asyncpg://auth@localhost/docuchat",
    "SYSTEM_DATABASE_URL": "postgresql://auth_system@localhost/docuchat",
    "REDIS_URL": "redis://localhost:6379/0",
    "RABBITMQ_URL": "amqp://localhost/",
    "INTERNAL_TOKEN": "internal-secret-of-the-tests-0123456789",
    "JWT_SECRET": "jwt-secret-of-the-tests-0123456789",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the environment: complete, with changes; None removes."""

    def become(**changes: str | None) -> None:
        for name in ("JWT_SECRET", "SECRET_KEY", "ALGORITHM", "SMTP_URL", "ACCESS_TOKEN_TTL", "REFRESH_TOKEN_TTL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {**COMPLETE, **changes}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return become


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        load_settings(Settings)
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_defaults(environment: Any) -> None:
    environment()
    settings = load_settings(Settings)
    assert settings.algorithm == "EdDSA"
    assert settings.access_token_ttl == timedelta(hours=1)
    assert settings.refresh_token_ttl == timedelta(days=30)
    assert settings.invitation_page == "http://localhost:8000/invitation"
    assert settings.signing_key_rotation == timedelta(days=90)
    assert settings.tenant_header == "X-Tenant-ID"
    assert settings.port == 8001


def test_secret_key_is_another_name_of_jwt_secret(environment: Any) -> None:
    environment(JWT_SECRET=None, SECRET_KEY="another-secret-of-the-tests-0123456789")
    assert load_settings(Settings).jwt_secret.get_secret_value() == "another-secret-of-the-tests-0123456789"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"JWT_SECRET": None}, ("JWT_SECRET", "missing")),
        ({"JWT_SECRET": "change_me_to_a_random_secret_key_in_production"}, ("JWT_SECRET", "placeholder")),
        ({"JWT_SECRET": None, "SECRET_KEY": "generate-a-strong-secret-key-here"}, ("placeholder",)),
        ({"JWT_SECRET": "short"}, ("JWT_SECRET", "shorter than 32 characters")),
        ({"INTERNAL_TOKEN": "short"}, ("INTERNAL_TOKEN", "shorter than 32 characters")),
        ({"ALGORITHM": "HS256"}, ("ALGORITHM", "EdDSA or ES256", "HS256", "refused")),
        ({"ALGORITHM": "none"}, ("ALGORITHM", "EdDSA or ES256")),
        ({"ENVIRONMENT": "production"}, ("SMTP_URL", "missing", "ENVIRONMENT=local")),
        ({"ENVIRONMENT": "test"}, ("SMTP_URL", "missing")),
        ({"SMTP_URL": "http://mail"}, ("SMTP_URL", "smtp://user:password@host:587")),
        ({"SMTP_URL": "smtps://mail?starttls=always"}, ("SMTP_URL", "only with smtp://")),
        ({"ACCESS_TOKEN_TTL": "0"}, ("ACCESS_TOKEN_TTL", "longer than nothing")),
        ({"SIGNING_KEY_ROTATION": "10m"}, ("SIGNING_KEY_ROTATION", "longer than SIGNING_KEY_PUBLISH_AHEAD")),
        ({"CODE_GUESSES": "6"}, ("CODE_GUESSES", "5")),
        ({"CODE_SENDS_PER_EMAIL": "often"}, ("CODE_SENDS_PER_EMAIL", "5/15m")),
    ],
)
def test_a_wrong_environment_refuses_with_what_to_mend(
    environment: Any, capsys: pytest.CaptureFixture[str], changes: dict[str, str | None], words: tuple[str, ...]
) -> None:
    environment(**changes)
    message = refusal(capsys)
    assert all(word in message for word in words), message
    assert "short\n" not in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3600", timedelta(hours=1)),
        ("15m", timedelta(minutes=15)),
        ("1h", timedelta(hours=1)),
        ("7d", timedelta(days=7)),
    ],
)
def test_durations(environment: Any, text: str, expected: timedelta) -> None:
    environment(ACCESS_TOKEN_TTL=text)
    assert load_settings(Settings).access_token_ttl == expected


def kind_of_mailer() -> str:
    settings = load_settings(Settings)
    return type(open_mailer(settings.smtp_url, settings.mail_from, settings.invitation_page)).__name__


def test_codes_go_to_the_log_in_local_only_and_not_when_there_is_a_mail_server(environment: Any) -> None:
    environment()
    assert kind_of_mailer() == "LogMailer"
    environment(SMTP_URL="smtp://localhost:2525")
    assert kind_of_mailer() == "SmtpMailer"
    environment(ENVIRONMENT="production", SMTP_URL="smtps://u:p@mail.example.com")
    assert kind_of_mailer() == "SmtpMailer"


def test_no_secret_shows_in_the_settings(environment: Any) -> None:
    environment(SMTP_URL="smtp://user:hidden-password@mail.example.com")
    shown = repr(load_settings(Settings))
    assert "hidden-password" not in shown
    assert "jwt-secret-of-the-tests-0123456789" not in shown
