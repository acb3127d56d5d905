"""A wrong environment refuses to start, with a message that says what to mend and shows no secret."""

import pytest

from docuchat_common.settings import BlobUrl, ServiceSettings, load_settings

GOOD = {
    "DATABASE_URL": "postgresql+asyncpg://app:pw@localhost/docuchat",
    "SYSTEM_DATABASE_URL": "postgresql://system:pw@localhost/docuchat",
    "REDIS_URL": "redis://localhost/0",
    "RABBITMQ_URL": "amqp://localhost/",
    "INTERNAL_TOKEN": "internal-token-of-this-test-alone",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*GOOD, "PORT", "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_sqlalchemy_spelling_of_the_database_url_is_accepted(environment: pytest.MonkeyPatch) -> None:
    assert load_settings(ServiceSettings).database_url == "postgresql://app:pw@localhost/docuchat"


def test_the_default_environment_is_the_strict_one(environment: pytest.MonkeyPatch) -> None:
    assert load_settings(ServiceSettings).environment == "production"


@pytest.mark.parametrize(
    "address",
    [
        "http//x",
        "localhost:11434",
        "http://",
        "https://:443/v1",
        "http://x:eleven",
        "http://[::1",
        "ftp://x",
        "http://a b",
        "http://x/v1?key=y",
        "http://x/#y",
    ],
)
def test_what_no_client_could_call_is_no_address_of_a_service(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    environment.setenv("AUTH_URL", address)
    with pytest.raises(SystemExit):
        load_settings(ServiceSettings)
    assert capsys.readouterr().err == (
        "cannot start: AUTH_URL: is not the address of a service, like https://host/path or http://host:port\n"
    )


@pytest.mark.parametrize("address", ["http://localhost:8001", "https://u:p@models.example/v1/", "http://[::1]:80"])
def test_an_address_of_a_service_is_taken_as_it_is(environment: pytest.MonkeyPatch, address: str) -> None:
    environment.setenv("AUTH_URL", address)
    assert load_settings(ServiceSettings).auth_url == address


class WithFiles(ServiceSettings):
    blob_url: BlobUrl


@pytest.mark.parametrize("place", ["foo", "file:foo", "file://host/folder", "/srv/blobs", "ftp://host/blobs"])
def test_an_address_where_no_files_can_be_is_refused(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    environment.setenv("BLOB_URL", place)
    with pytest.raises(SystemExit):
        load_settings(WithFiles)
    assert "BLOB_URL: is not the address of a place for files" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["file:///srv/blobs", "s3://bucket/prefix"])
def test_places_of_files_are_folders_and_buckets(environment: pytest.MonkeyPatch, place: str) -> None:
    environment.setenv("BLOB_URL", place)
    assert load_settings(WithFiles).blob_url == place


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("INTERNAL_TOKEN", "hunter2-short", "INTERNAL_TOKEN: is shorter than 32 characters"),
        ("INTERNAL_TOKEN", "", "INTERNAL_TOKEN: is missing"),
        (
            "INTERNAL_TOKEN",
            "change_me_to_a_random_secret_key_in_production",
            "INTERNAL_TOKEN: is a placeholder",
        ),
        ("INTERNAL_TOKEN", "generate-a-strong-secret-key-here", "INTERNAL_TOKEN: is a placeholder"),
        ("INTERNAL_TOKEN", "your-secure-secret-key-here-hunter2", "INTERNAL_TOKEN: is a placeholder"),
        ("INTERNAL_TOKEN", "ab" * 20, "INTERNAL_TOKEN: repeats too few characters"),
        ("SHUTDOWN_GRACE", "soon", "SHUTDOWN_GRACE: must be a duration like 500ms"),
        ("REDIS_URL", "", "REDIS_URL: is missing"),
        ("PORT", "eighty", "PORT: "),
    ],
)
def test_a_mistake_is_named_and_the_process_ends(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, message: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SystemExit) as exit_info:
        load_settings(ServiceSettings)
    printed = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert message in printed
    assert "hunter2" not in printed
