"""RabbitMQ: outbox and relay on the way out, consumer, inbox and retry ladder on the way in."""
