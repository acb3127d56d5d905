"""What the stub of a model provider was told to do, which calls it had, and what they came to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from docuchat_testkit.provider_rules import Call, Counts, Endpoint, Rule, Tally


@dataclass(frozen=True, slots=True)
class Caller:
    """The key that a call came with, and the header it came in."""

    key: str = ""
    header: str = ""


@dataclass(slots=True)
class ArmedRule:
    """A rule in force, and how often it was met."""

    rule: Rule
    seen: int = 0
    acted: int = 0

    def decides(self, endpoint: Endpoint, model: str, key: str, texts: list[str]) -> bool:
        rule = self.rule
        if rule.times is not None and self.acted >= rule.times:
            return False
        matches = (
            (rule.endpoint is None or rule.endpoint == endpoint)
            and (rule.model is None or rule.model == model)
            and (rule.key is None or rule.key == key)
            and (rule.contains is None or any(rule.contains in text for text in texts))
        )
        if not matches:
            return False
        self.seen += 1
        if rule.nth and self.seen not in rule.nth:
            return False
        self.acted += 1
        return True


@dataclass(slots=True)
class Books:
    """Rules in force, calls and counts."""

    rules: list[ArmedRule] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def rule_for(self, endpoint: Endpoint, model: str, key: str, texts: list[str]) -> Rule:
        for armed in self.rules:
            if armed.decides(endpoint, model, key, texts):
                return armed.rule
        return Rule()

    def open_call(
        self, endpoint: Endpoint, body: Mapping[str, Any], caller: Caller, path: str, last_message: str
    ) -> Call:
        call = Call(
            index=len(self.calls) + 1,
            endpoint=endpoint,
            model=str(body.get("model", "")),
            key=caller.key,
            user=body.get("user"),
            stream=bool(body.get("stream", False)),
            path=path,
            key_header=caller.header,
            parameters=tuple(sorted(body)),
            status=0,
            started_at=time.time(),
            last_message=last_message[-200:],
            system=_system_of(body)[:4000],
        )
        self.calls.append(call)
        return call

    def counts(self) -> Counts:
        counts = Counts(by_key={}, by_user={}, by_model={})
        for call in self.calls:
            tallies: list[Tally] = [
                counts,
                counts.by_key.setdefault(call.key, Tally()),
                counts.by_model.setdefault(call.model, Tally()),
            ]
            if call.user is not None:
                tallies.append(counts.by_user.setdefault(call.user, Tally()))
            for tally in tallies:
                tally.calls += 1
                tally.rejected += call.outcome == "rejected"
                tally.prompt_tokens += call.prompt_tokens
                tally.completion_tokens += call.completion_tokens
                tally.embedding_tokens += call.embedding_tokens
        return counts


def _system_of(body: Mapping[str, Any]) -> str:
    first = (body.get("messages") or [None])[0]
    return str(first.get("content", "")) if isinstance(first, dict) and first.get("role") == "system" else ""
