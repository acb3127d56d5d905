"""AsyncAPI 3.1 document of the events exchange and the usage stream. https://www.asyncapi.com/docs/reference/specification/v3.1.0"""

from typing import Any

from docuchat_common.events.catalogue import CATALOGUE, json_schemas
from docuchat_common.messaging.topology import EXCHANGE, USAGE_STREAM, streamed_types

_STREAM_CHANNEL = "usage-stream"
_LOGIN = "login"


def asyncapi_document() -> dict[str, Any]:
    """Servers, security, channels, messages and operations, as DocuChat's own application sends them."""
    schemas = json_schemas()
    return {
        "asyncapi": "3.1.0",
        "id": "urn:docuchat:events",
        "defaultContentType": "application/cloudevents+json",
        "info": {
            "title": "DocuChat events",
            "version": "1.0.0",
            "description": (
                "CloudEvents 1.0 in structured JSON mode on a topic exchange; the routing key is the event's type. "
                "Bind a queue of your own to the types that you want, or read the usage stream from any offset. "
                "Delivery is at least once: drop an `id` that you have seen. Within a version only optional fields "
                "are added; ignore those that you do not know."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": "events"}, {"name": "usage"}],
        },
        "servers": {
            "rabbitmq": {
                "host": "{host}:{port}",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "The installation's RabbitMQ, 3.10 or newer.",
                "variables": {
                    "host": {"default": "127.0.0.1", "description": "Where the broker runs."},
                    "port": {"default": "5672", "description": "5671 with TLS (amqps)."},
                },
                "security": [{"$ref": f"#/components/securitySchemes/{_LOGIN}"}],
            }
        },
        "channels": {
            **{event.type: _event_channel(event.type) for event in CATALOGUE},
            _STREAM_CHANNEL: _stream_channel(),
        },
        "operations": {
            **{
                f"send-{event.type}": {
                    "action": "send",
                    "title": event.type,
                    "summary": _summary(event),
                    "description": f"Published by {' and '.join(event.published_by)}.",
                    "tags": [{"name": "events"}],
                    "channel": {"$ref": f"#/channels/{event.type}"},
                    "messages": [{"$ref": f"#/channels/{event.type}/messages/{event.type}"}],
                    "bindings": {"amqp": {"deliveryMode": 2, "bindingVersion": "0.3.0"}},
                }
                for event in CATALOGUE
            },
            "send-usage-stream": {
                "action": "send",
                "title": "Usage stream",
                "summary": "Usage and quota events, kept so that a subscriber can begin at any of them.",
                "tags": [{"name": "usage"}],
                "channel": {"$ref": f"#/channels/{_STREAM_CHANNEL}"},
                "messages": [{"$ref": f"#/channels/{_STREAM_CHANNEL}/messages/{kind}"} for kind in streamed_types()],
            },
        },
        "components": {
            "securitySchemes": {
                _LOGIN: {
                    "type": "userPassword",
                    "description": "A login of your own, which reads your queues or the stream and writes nothing.",
                }
            },
            "messages": {
                event.type: {
                    "name": event.type,
                    "title": event.__name__,
                    "summary": _summary(event),
                    "contentType": "application/cloudevents+json",
                    "payload": _payload(schemas[event.type]),
                }
                for event in CATALOGUE
            },
        },
    }


def _event_channel(kind: str) -> dict[str, Any]:
    return {
        "address": kind,
        "title": kind,
        "servers": [{"$ref": "#/servers/rabbitmq"}],
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": EXCHANGE, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"},
                "bindingVersion": "0.3.0",
            }
        },
    }


def _stream_channel() -> dict[str, Any]:
    return {
        "address": USAGE_STREAM,
        "title": "Usage stream",
        "description": "Consume with the argument x-stream-offset: first, last, next, a number or a time.",
        "servers": [{"$ref": "#/servers/rabbitmq"}],
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in streamed_types()},
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {"name": USAGE_STREAM, "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"},
                "bindingVersion": "0.3.0",
            }
        },
    }


def _payload(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as a payload, whose dialect is the document's."""
    return {name: value for name, value in schema.items() if name != "$schema"}


def _summary(event: type[Any]) -> str:
    return (event.__doc__ or "").strip().split("\n", 1)[0]
