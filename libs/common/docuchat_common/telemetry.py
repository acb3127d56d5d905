"""W3C trace context through HTTP and AMQP; spans are exported when an OTLP endpoint is configured.

Without an endpoint no SDK is loaded (memory), but trace ids are still made and passed on, so that the logs of a
request can be joined across services. https://www.w3.org/TR/trace-context/
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("docuchat")


def configure_tracing(service: str, endpoint: str | None) -> None:
    """Export spans to `endpoint` (OTLP over HTTP), when there is one."""
    if endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)


def trace_headers() -> dict[str, str]:
    """`traceparent` (and `tracestate`) of the current context, to send along."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


@contextmanager
def traced(name: str, kind: SpanKind, carrier: Mapping[str, str]) -> Iterator[Span]:
    """Run the block in a span that continues the trace in `carrier`, or begins one; binds `trace_id` for the logs."""
    parent = _propagator.extract(dict(carrier))
    if not trace.get_current_span(parent).get_span_context().is_valid:
        root = SpanContext(
            trace_id=secrets.randbits(128) or 1,
            span_id=secrets.randbits(64) or 1,
            is_remote=True,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
        parent = trace.set_span_in_context(NonRecordingSpan(root), parent)
    token = otel_context.attach(parent)
    try:
        with (
            _tracer.start_as_current_span(name, kind=kind) as span,
            structlog.contextvars.bound_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}"),
        ):
            yield span
    finally:
        otel_context.detach(token)
