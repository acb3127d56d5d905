"""P7: search quality, by search_quality.py in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from harness import HERE, SQUAD, Bench

TARGET, BM25 = 0.93, 0.888


def run(bench: Bench) -> None:
    command = [sys.executable, str(HERE / "search_quality.py"), "--data", str(SQUAD)]
    if bench.quick:
        command += ["--sample", "200"]
    environment = {**os.environ, "DOCUCHAT_TEST_CONTAINERS": "0"}  # the servers of deploy/local, as everywhere here
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
    print(done.stdout, end="")
    scores = {
        name: float(score)
        for name, score in re.findall(r"^(vector leg|word leg|hybrid)\s+([\d.]+)", done.stdout, re.MULTILINE)
    }
    if "hybrid" not in scores:
        raise RuntimeError(done.stderr[-1000:])
    hybrid, better = scores["hybrid"], max(scores["vector leg"], scores["word leg"])
    add = bench.report.add
    add("P7", f"nDCG@10 on SQuAD, hybrid (BM25 {BM25})", f"{hybrid:.3f}", f">= {TARGET}", hybrid >= TARGET)
    add("P7", "hybrid minus its better leg", f"{hybrid - better:+.3f}", ">= 0", hybrid >= better)
