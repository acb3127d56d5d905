"""Metrics for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

from docuchat_knowledge.jobs.domain import QueueDepth

_documents = Counter("docuchat_ingest_documents", "Documents by what became of them.", ["outcome"])
_stage_seconds = Histogram(
    "docuchat_ingest_stage_seconds",
    "Time of a document in each stage.",
    ["stage"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_queued = Gauge("docuchat_ingest_queue_documents", "Documents that wait.")
_running = Gauge("docuchat_ingest_running_documents", "Documents that are in work, at all workers.")
_age = Gauge("docuchat_ingest_queue_age_seconds", "How long the oldest document that could be worked on has waited.")


class PrometheusMeter:
    """Counts on `/metrics`."""

    def finished(self, outcome: str) -> None:
        _documents.labels(outcome).inc()

    def stage(self, name: str, seconds: float) -> None:
        _stage_seconds.labels(name).observe(seconds)

    def queue(self, depth: QueueDepth) -> None:
        _queued.set(depth.queued)
        _running.set(depth.processing)
        _age.set(depth.oldest_age.total_seconds())
