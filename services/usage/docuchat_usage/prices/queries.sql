-- name: add_price(provider, model, input, output, embedding, valid_from)$
-- Add a version of a price.
INSERT INTO usage.prices (provider, model, input, output, embedding, valid_from)
VALUES (:provider::text, :model::text, :input::numeric, :output::numeric, :embedding::numeric, :valid_from::timestamptz)
RETURNING id;
