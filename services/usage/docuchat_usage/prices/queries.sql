-- name: add_price(provider, model, input, output, embedding, valid_from, owner)$
-- Add a version of a price.
INSERT INTO usage.prices (provider, model, input, output, embedding, valid_from, owner_tenant)
VALUES (:provider::text, :model::text, :input::numeric, :output::numeric, :embedding::numeric, :valid_from::timestamptz,
        :owner::bigint)
RETURNING id;


-- name: take_turn(provider)$
-- Let prices of one provider be set one after another.
SELECT pg_advisory_xact_lock(hashtextextended('usage.prices/' || :provider::text, 0));


-- name: list_of_provider(provider, at)
-- What the models of one provider cost at a moment.
SELECT DISTINCT ON (p.model) p.id, p.provider, p.model, p.input, p.output, p.embedding, p.valid_from
FROM usage.prices p
WHERE p.provider = :provider::text AND p.valid_from <= :at::timestamptz
ORDER BY p.model, p.valid_from DESC;


-- name: list_prices(in_force_at)
-- The platform's prices: the version of each price that is in force at a moment; every version, the latest of a model first, when none is given.
SELECT p.id, p.provider, p.model, p.input, p.output, p.embedding, p.valid_from
FROM usage.prices p
WHERE p.owner_tenant IS NULL AND (:in_force_at::timestamptz IS NULL
   OR p.valid_from = (SELECT max(v.valid_from) FROM usage.prices v
                      WHERE v.provider = p.provider AND v.model = p.model AND v.valid_from <= :in_force_at::timestamptz))
ORDER BY p.provider, p.model, p.valid_from DESC;
