"""Every benchmark beside its target: `make bench`, or `make bench ARGS="--only P3,P4"`.

The product is started with a folder of its own, from nothing, and a stub stands for the model provider; nothing is left
behind but the environment of the peer in `.local/bench-peer`. See README.md for what each figure means.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
import traceback
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import chat_completions
import first_token
import footprint
import ingest
import latency
import quality
import sign_ins
import streams
from harness import Bench, commit, line, machine

# (id, what, function, most seconds); those that want an empty collection come before those that fill it
BENCHMARKS = (
    ("P8", "memory and second start", footprint.run, 90),
    ("P7", "search quality", quality.run, 150),
    ("P1", "ingestion: upload to searchable", ingest.run, 240),
    ("P2", "ingestion: latency of an idle product", latency.run, 90),
    ("P5", "chats started per second", streams.run_starts, 100),
    ("P4", "streamed tokens per second", streams.run_throughput, 100),
    ("P4", "open streams", streams.run_open, 330),
    ("P10", "chat beside ten password sign-ins a second", sign_ins.run, 120),
    ("P3", "first token, added to the provider's own", first_token.run, 240),
    ("P3", "first token of a chat completion, beside a chat's", chat_completions.run, 240),
)

# (id, goal, why no part above judges it); a goal that is measured is named by its part
NOT_JUDGED = (
    ("P1", ">= 8x less CPU than Open WebUI, a provider's embeddings", "that peer is not set up here"),
    ("P3", "first token added: p50 <= 1.5x, p95 <= 2x the bare script's own", "printed; no bare script yet"),
    ("P5", "CPU a chat <= 2.5x bare, one book and 100,000 chunks", "printed for one book; no bare script yet"),
    ("P5", "CPU a chat <= 0.4x LiteLLM's proxy, <= 0.6x Open WebUI with a file", "those peers are not set up here"),
    ("P5", "no fewer chats/s at 50 at once than at 10", "only 50 at once is run"),
    ("P6", "search among 1,000 tenants: recall@10 >= 0.99, p95 <= 1.5x and 3x a bare index scan", "no part yet"),
    ("P7", "nDCG@10 on PQuAD, GermanQuAD >= 0.02 above BM25; across languages >= 0.80", "SQuAD alone is run"),
    ("P9", ">= 5,000 waiting usage events booked a second", "benchmarks/booking.py"),
    ("P10", "chat p95 while 100 PDFs are ingested <= 1.5x idle", "no part yet"),
    ("P11", "statements, transactions, commits, messages of a turn", "held by services/chat/tests/test_chat_books.py"),
    ("P12", "answers of the default: >= 80 % right, >= 90 % refused, small talk", "tests/integration/test_answers.py"),
)


class OutOfTime(BaseException):
    """A benchmark took longer than it may; not an Exception, so that nothing on the way swallows it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="ids, separated by commas: P1,P3")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, its figures mean little")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures to this file")
    options = parser.parse_args()
    only = {part.strip().upper() for part in options.only.split(",") if part.strip()}
    unknown = only - {id_ for id_, *_ in BENCHMARKS}
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")

    def out_of_time(_: int, __: FrameType | None) -> None:
        raise OutOfTime

    logging.getLogger("httpx2").setLevel(logging.WARNING)
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    command = " ".join(["benchmarks/run.py", *sys.argv[1:]])
    moment = datetime.now(UTC)
    print(f"{machine()}\ncommit {commit()}, {moment:%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}\n{command}")
    failures = 0
    with ExitStack() as stack:
        bench = Bench(stack, quick=options.quick)
        for id_, what, run, seconds in BENCHMARKS:
            if only and id_ not in only:
                continue
            print(f"\n{id_}: {what}", flush=True)
            started = time.perf_counter()
            # a start of the product may be on top
            signal.alarm(seconds + 60)
            try:
                run(bench)
            except OutOfTime:
                bench.report.add(id_, what, "no figure", f"within {seconds} s", met=False)
            except Exception:  # noqa: BLE001 - the others shall still be measured
                traceback.print_exc()
                bench.report.add(id_, what, "failed", met=False)
                failures += 1
            finally:
                signal.alarm(0)
            print(f"  ... {time.perf_counter() - started:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    judged = [figure for figure in bench.report.figures if figure.met is not None]
    print(f"\n{sum(bool(figure.met) for figure in judged)} of {len(judged)} targets met; missed:")
    for figure in judged:
        if not figure.met:
            print(line(figure))
    print("\nnot judged here:")
    for id_, goal, why in NOT_JUDGED:
        if not only or id_ in only:
            print(f"  {id_:<4}{goal}: {why}")
    if options.json:
        content = {
            "machine": machine(),
            "commit": commit(),
            "command": command,
            "figures": [asdict(f) for f in bench.report.figures],
        }
        options.json.write_text(json.dumps(content, indent=1))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
