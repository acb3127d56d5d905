"""What chat tells Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

OPEN_TURNS = Gauge(
    "docuchat_chat_open_turns", "Turns being answered or settled in this process: what MAX_RUNNING_TURNS counts."
)
TURNS = Counter("docuchat_chat_turns", "Turns by how they ended.", ["state"])
FALLBACKS = Counter("docuchat_chat_fallbacks", "Turns that a second model was asked to answer, by why.", ["reason"])
FIRST_TOKEN_SECONDS = Histogram(
    "docuchat_chat_provider_first_token_seconds",
    "From the call of the provider to its first token.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60),
)
PREPARATION_SECONDS = Histogram(
    "docuchat_chat_preparation_seconds",
    "From a question to the call of the provider: hold, embedding, search, prompt.",
    buckets=(0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.08, 0.15, 0.3, 1, 3),
)
PROVIDER_CALLS = Counter(
    "docuchat_chat_provider_calls", "Calls of the platform's providers by what came of them.", ["provider", "outcome"]
)
PROVIDER_HEALTH = Gauge(
    "docuchat_chat_provider_health", "The platform's providers: 1 is well, 0.5 in trouble, 0 down.", ["provider"]
)
RECOVERED = Counter("docuchat_chat_turns_recovered", "Turns of dead processes that the sweep settled.")
