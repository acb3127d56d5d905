"""An answer of the stub of a model provider on its way out, whole or by the token."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from docuchat_testkit.provider_answers import Answer, count_tokens, encoding_for
from docuchat_testkit.provider_connection import Connection, chunk
from docuchat_testkit.provider_rules import Call, Outcome, Rule


@dataclass(slots=True)
class ChatReply:
    """One answer on its way out, counted as it leaves."""

    connection: Connection
    call: Call
    rule: Rule
    model: str
    prompt_tokens: int
    answer: Answer
    batch: int
    sent: int = 0

    @property
    def _id(self) -> str:
        return f"chatcmpl-stub{self.call.index:08d}"

    def _usage(self) -> dict[str, Any]:
        completion = self.answer.tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }

    async def whole(self, *, close: bool) -> None:
        rule, call, answer = self.rule, self.call, self.answer
        call.prompt_tokens, call.status = self.prompt_tokens, 200
        delay = rule.first_token_delay + (len(answer.pieces) / rule.rate if rule.rate else 0.0)
        if delay:
            await asyncio.sleep(delay)
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        payload = {
            "id": self._id,
            "object": "chat.completion",
            "created": int(call.started_at),
            "model": self.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}],
            "usage": self._usage() if rule.usage_frame else None,
        }
        await self.connection.respond(200, payload, close=close)
        call.completion_tokens, call.usage_sent = answer.tokens, rule.usage_frame
        call.outcome = "length" if answer.finish_reason == "length" else "stop"

    async def stream(self, *, include_usage: bool, close: bool) -> None:
        call, rule, answer = self.call, self.rule, self.answer
        head = json.dumps(
            {"id": self._id, "object": "chat.completion.chunk", "created": int(call.started_at), "model": self.model},
            separators=(",", ":"),
        )[:-1]
        tail = ',"usage":null}\n\n' if include_usage else "}\n\n"
        prefix = f'data: {head},"choices":[{{"index":0,"delta":{{"content":'.encode()
        suffix = f'}},"logprobs":null,"finish_reason":null}}]{tail}'.encode()
        call.status, call.prompt_tokens = 200, self.prompt_tokens
        await self.connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
            b"transfer-encoding: chunked\r\nconnection: " + (b"close" if close else b"keep-alive") + b"\r\n\r\n"
        )
        if rule.first_token_delay:
            await asyncio.sleep(rule.first_token_delay)
        opening = (
            f'data: {head},"choices":[{{"index":0,"delta":{{"role":"assistant","content":"","refusal":null}},'
            f'"logprobs":null,"finish_reason":null}}]{tail}'
        ).encode()
        try:
            await self._send_pieces(opening, prefix, suffix)
        finally:
            # A stream that ended early is counted as its text re-encodes, as any honest reader of it would count.
            if self.sent < len(answer.pieces):
                call.completion_tokens = count_tokens("".join(answer.pieces[: self.sent]), encoding_for(self.model))
            else:
                call.completion_tokens = answer.tokens
        if call.outcome == "cut":
            return
        frames = [f'data: {head},"choices":[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"']
        call.usage_sent = include_usage and rule.usage_frame
        with_end = call.usage_sent and rule.usage_in_end
        end = f',"usage":{json.dumps(self._usage())}}}\n\n' if with_end else tail
        frames.append(f'{answer.finish_reason}"}}]{end}')
        if call.usage_sent and not with_end:
            frames.append(f'data: {head},"choices":[],"usage":{json.dumps(self._usage())}}}\n\n')
        frames.append("data: [DONE]\n\n")
        await self.connection.send(chunk("".join(frames).encode()) + b"0\r\n\r\n")
        outcome: Outcome = "length" if answer.finish_reason == "length" else "stop"
        call.outcome = outcome
        if close:
            self.connection.transport.close()

    async def _send_pieces(self, opening: bytes, prefix: bytes, suffix: bytes) -> None:
        rule, fragments = self.rule, self.answer.fragments
        between = suffix + prefix
        clock = asyncio.get_running_loop().time
        begun = clock()
        await self.connection.send(chunk(opening))
        stops = sorted({s for s in (rule.stall_after, rule.cut_after, rule.malformed_after) if s is not None})
        total = len(fragments)
        while True:
            if self.sent in stops:
                await self._act_at(self.sent, prefix)
                if self.call.outcome == "cut":
                    return
            if self.sent >= total:
                return
            if rule.rate is None:
                # The first token leaves alone, so that the time to it is not the time of a batch.
                upto = min(self.sent + (self.batch if self.sent else 1), total)
            else:
                upto = min(total, max(self.sent, int((clock() - begun) * rule.rate)) + 1)
            upto = min([upto, *(stop for stop in stops if stop > self.sent)])
            frames = prefix + between.join(fragments[self.sent : upto]) + suffix
            await self.connection.send(chunk(frames))
            if self.call.first_token_at is None:
                self.call.first_token_at = time.time()
            self.sent = upto
            if rule.rate is None:
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(max(0.0, begun + self.sent / rule.rate - clock()))

    async def _act_at(self, sent: int, prefix: bytes) -> None:
        rule = self.rule
        if rule.malformed_after == sent:
            await self.connection.send(chunk(prefix + b'"broken\n\n'))
        if rule.stall_after == sent:
            if rule.stall_seconds is None:
                await asyncio.Event().wait()
            else:
                await asyncio.sleep(rule.stall_seconds)
        if rule.cut_after == sent:
            self.call.outcome = "cut"
            # An orderly end of the TCP stream without the last chunk: what was sent does arrive.
            self.connection.transport.close()
