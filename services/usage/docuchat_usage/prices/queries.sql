-- name: add_price(provider, model, input, output, embedding, valid_from)$
-- Add a version of a price.
INSERT INTO usage.prices (provider, model, input, output, embedding, valid_from)
VALUES (:provider::text, :model::text, :input::numeric, :output::numeric, :embedding::numeric, :valid_from::timestamptz)
RETURNING id;


-- name: list_prices(in_force_at)
-- The version of each price that is in force at a moment; every version, the latest of a model first, when none is given.
SELECT p.id, p.provider, p.model, p.input, p.output, p.embedding, p.valid_from
FROM usage.prices p
WHERE :in_force_at::timestamptz IS NULL
   OR p.valid_from = (SELECT max(v.valid_from) FROM usage.prices v
                      WHERE v.provider = p.provider AND v.model = p.model AND v.valid_from <= :in_force_at::timestamptz)
ORDER BY p.provider, p.model, p.valid_from DESC;
