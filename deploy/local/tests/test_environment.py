import os
from dataclasses import replace

import pytest

from docuchat_local.environment import (
    ROOT,
    blob_url,
    external_servers,
    known_names,
    model_provider,
    read_settings,
    require_reachable,
    with_login,
)
from docuchat_local.errors import BadEnvironment

GIVEN = {
    "BACKING": "external",
    "DATABASE_URL": "postgresql+asyncpg://admin:pw@db:5432/docuchat",
    "REDIS_URL": "redis://redis:6379/0",
    "RABBITMQ_URL": "amqp://user:pw@rabbitmq:5672/",
}
SEEDS = (
    "DATABASE_URL REDIS_URL OPENAI_API_KEY OPENAI_MODEL EMBEDDING_MODEL OPENAI_BASE_URL ALLOWED_MODELS JWT_SECRET "
    "RATE_LIMIT_PER_MINUTE TENANT_HEADER CHUNK_TOKEN_SIZE CHUNK_OVERLAP MAX_CONTEXT_TOKENS TOP_K MAX_FILE_SIZE_MB "
    "MAX_PDF_PAGES FRONTEND_ORIGIN SECRET_KEY ALGORITHM AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION "
    "S3_BUCKET_NAME"
).split()


def test_the_example_names_every_variable_of_the_seeds():
    assert known_names(ROOT / ".env.example") >= set(SEEDS)


def test_the_example_holds_no_secret():
    values = read_settings(ROOT / ".env.example", {})
    assert not {"JWT_SECRET", "SECRET_KEY", "INTERNAL_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY"} & values.keys()


def test_the_environment_wins_over_the_file_and_strangers_stay_out(tmp_path):
    (tmp_path / ".env").write_text("TOP_K=3\nOPENAI_MODEL=a\n")
    settings = read_settings(tmp_path / ".env", {"TOP_K": "9", "GITHUB_TOKEN": "secret"})
    assert settings == {"TOP_K": "9", "OPENAI_MODEL": "a"}


def test_external_servers_are_taken_as_given():
    servers = external_servers(GIVEN)
    assert servers is not None
    assert servers.postgres_admin_url == "postgresql://admin:pw@db:5432/docuchat"
    assert servers.redis_url == GIVEN["REDIS_URL"]


@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL", "RABBITMQ_URL"])
def test_external_without_an_address_says_which(missing):
    with pytest.raises(BadEnvironment, match=f"needs {missing}"):
        external_servers({name: value for name, value in GIVEN.items() if name != missing})


def test_an_unknown_backing_and_a_foreign_database_are_refused():
    with pytest.raises(BadEnvironment, match="embedded"):
        external_servers({"BACKING": "docker"})
    with pytest.raises(BadEnvironment, match="postgresql://"):
        external_servers(GIVEN | {"DATABASE_URL": "mysql://x"})


def test_a_given_server_that_nobody_runs_is_named():
    with pytest.raises(BadEnvironment, match=r"REDIS_URL: nobody answers at 127\.0\.0\.1:1 "):
        require_reachable("REDIS_URL", "redis://127.0.0.1:1/0", 6379)
    with pytest.raises(BadEnvironment, match="RABBITMQ_URL names no server"):
        require_reachable("RABBITMQ_URL", "localhost", 5672)


def test_every_service_gets_its_own_weak_login(environments):
    built = environments({})
    chat, usage = built.for_service("chat", 2), built.for_service("usage", 3)
    assert chat["DATABASE_URL"].startswith("postgresql://docuchat_chat:")
    assert chat["SYSTEM_DATABASE_URL"].startswith("postgresql://docuchat_chat_system:")
    assert usage["DATABASE_URL"] != chat["DATABASE_URL"]
    assert "admin" not in "".join(chat.values())


def test_a_secret_reaches_only_the_services_that_use_it(environments):
    built = environments({"OPENAI_API_KEY": "key", "SMTP_URL": "smtp://x", "AWS_SECRET_ACCESS_KEY": "aws"})
    holders = {
        name: {
            service
            for service in ("auth", "chat", "gateway", "ingest", "usage")
            if name in built.for_service(service, 1)
        }
        for name in ("OPENAI_API_KEY", "SMTP_URL", "AWS_SECRET_ACCESS_KEY", "JWT_SECRET", "BLOB_URL", "INTERNAL_TOKEN")
    }
    assert holders == {
        "OPENAI_API_KEY": {"chat", "ingest"},
        "SMTP_URL": {"auth"},
        "AWS_SECRET_ACCESS_KEY": {"gateway", "ingest"},
        "JWT_SECRET": {"auth"},
        "BLOB_URL": {"gateway", "ingest"},
        "INTERNAL_TOKEN": {"auth", "chat", "gateway", "ingest", "usage"},
    }


def test_secret_key_is_another_name_for_jwt_secret(environments):
    assert environments({"SECRET_KEY": "s" * 40}).for_service("auth", 1)["JWT_SECRET"] == "s" * 40


def test_a_bucket_name_becomes_a_blob_url(tmp_path):
    assert blob_url({"S3_BUCKET_NAME": "files"}, tmp_path) == "s3://files"
    assert blob_url({"S3_BUCKET_NAME": "files", "BLOB_URL": "s3://other/x"}, tmp_path) == "s3://other/x"
    assert blob_url({}, tmp_path).startswith("file://")


def test_a_login_is_put_into_an_address_quoted():
    assert with_login("postgresql://a:b@h:1/d?x=y", "u", "p@/") == "postgresql://u:p%40/@h:1/d?x=y"


@pytest.mark.parametrize("given", ["0", "-1", "many", "1000"])
def test_an_absurd_number_of_processes_is_refused_by_its_name(given, environments):
    with pytest.raises(BadEnvironment, match="CHAT_PROCESSES"):
        environments({"CHAT_PROCESSES": given}).process_count("chat")


def test_services_of_another_account_are_not_sent_into_our_home(tmp_path, environments):
    ours = environments({})
    assert replace(ours, home=tmp_path / "home").for_service("chat", 2)["HOME"] == str(tmp_path / "home")
    assert ours.for_service("chat", 2).get("HOME") == os.environ.get("HOME")


@pytest.mark.parametrize("service", ["gateway", "auth", "chat", "usage", "ingest"])
def test_every_service_may_have_several_processes(service, environments):
    assert environments({f"{service.upper()}_PROCESSES": "3"}).process_count(service) == 3
    assert environments({}).process_count(service) == 1


def test_browsers_come_back_to_the_gateway_that_is_there_or_to_the_one_that_is_named(environments):
    ours = environments({})
    moved = replace(ours, ports={**ours.ports, "gateway": 8123})
    assert moved.for_service("auth", 1)["PUBLIC_URL"] == "http://localhost:8123"
    named = environments({"PUBLIC_URL": "https://docuchat.example"})
    assert named.for_service("auth", 1)["PUBLIC_URL"] == "https://docuchat.example"


def test_a_proxy_that_is_named_reaches_the_gateway_that_believes_it(tmp_path, environments):
    (tmp_path / ".env").write_text("FORWARDED_ALLOW_IPS=10.0.0.7\n")
    settings = read_settings(tmp_path / ".env", {})
    assert environments(settings).for_service("gateway", 8000)["FORWARDED_ALLOW_IPS"] == "10.0.0.7"


def test_the_first_lines_say_which_provider_gets_what_and_bills_for_it():
    assert "nothing costs" in model_provider({})
    apart = {"EMBEDDING_BASE_URL": "https://vectors.example/v1", "EMBEDDING_MODEL": "e5"}
    assert "but https://vectors.example/v1 gets document texts and questions for e5" in model_provider(apart)
    both = model_provider(apart | {"OPENAI_API_KEY": "sk-secret"})
    assert both.endswith("of gpt-4o-mini; https://vectors.example/v1 gets document texts and questions for e5")
    assert "nothing costs" in model_provider(apart | {"EMBEDDING_PROVIDER": "wordllama"})
    told = model_provider({"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": "https://models.example/v1"})
    assert "https://models.example/v1" in told
    assert "gpt-4o-mini" in told
    assert "sk-secret" not in told


@pytest.mark.parametrize(
    ("host", "signup"), [(None, "open"), ("127.0.0.1", "open"), ("localhost", "open"), ("0.0.0.0", "invite")]
)
def test_the_demo_tenant_is_open_only_while_no_other_machine_reaches_the_gateway(host, signup, environments):
    assert environments({"HOST": host} if host else {}).demo_signup == signup
