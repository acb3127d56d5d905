-- name: add_price(provider, model, input, output, embedding, valid_from)$
-- Add a version of a price.
INSERT INTO usage.prices (provider, model, input, output, embedding, valid_from)
VALUES (:provider::text, :model::text, :input::numeric, :output::numeric, :embedding::numeric, :valid_from::timestamptz)
RETURNING id;


-- name: list_prices()
-- Every version of every price, the latest of a model first.
SELECT p.id, p.provider, p.model, p.input, p.output, p.embedding, p.valid_from
FROM usage.prices p
ORDER BY p.provider, p.model, p.valid_from DESC;
