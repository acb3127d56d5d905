"""AsyncAPI 3 document of the events exchange, for subscribers. https://www.asyncapi.com/docs/reference/specification/v3.0.0"""

from typing import Any

from docuchat_common.events.catalogue import CATALOGUE, json_schemas
from docuchat_common.messaging.topology import EXCHANGE


def asyncapi_document() -> dict[str, Any]:
    """Channels, messages and receive operations of every event in the catalogue."""
    schemas = json_schemas()
    messages = {
        event.type: {
            "name": event.type,
            "summary": (event.__doc__ or "").strip().split("\n", 1)[0],
            "contentType": "application/cloudevents+json",
            "payload": {
                "type": "object",
                "required": ["specversion", "id", "source", "type", "time", "tenantid", "data"],
                "properties": {
                    "specversion": {"const": "1.0"},
                    "id": {"type": "string", "format": "uuid"},
                    "source": {"const": event.source},
                    "type": {"const": event.type},
                    "time": {"type": "string", "format": "date-time"},
                    "tenantid": {"type": "string"},
                    "data": schemas[event.type],
                },
            },
        }
        for event in CATALOGUE
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "DocuChat events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 on a topic exchange; the routing key is the event type.",
        },
        "channels": {
            event.type: {
                "address": event.type,
                "messages": {event.type: {"$ref": f"#/components/messages/{event.type}"}},
                "bindings": {
                    "amqp": {"is": "routingKey", "exchange": {"name": EXCHANGE, "type": "topic", "durable": True}}
                },
            }
            for event in CATALOGUE
        },
        "operations": {
            f"receive {event.type}": {"action": "receive", "channel": {"$ref": f"#/channels/{event.type}"}}
            for event in CATALOGUE
        },
        "components": {"messages": messages},
    }
