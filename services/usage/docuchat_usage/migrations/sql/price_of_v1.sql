-- What a tenant's own provider serves is priced by that tenant alone: without a price of its own it costs nothing, never
-- what the platform says of any provider.
CREATE OR REPLACE FUNCTION usage.price_of_v1(p_provider text, p_model text, p_at timestamptz)
RETURNS SETOF usage.prices LANGUAGE sql STABLE AS $$
    SELECT p.*
    FROM usage.prices p
    WHERE p.provider IN (CASE WHEN starts_with(p_provider, 'own/') THEN p_provider ELSE '*' END, p_provider)
      AND CASE WHEN right(p.model, 1) = '*' THEN starts_with(p_model, left(p.model, -1)) ELSE p.model = p_model END
      AND p.valid_from <= p_at
    ORDER BY p.provider = '*', right(p.model, 1) = '*', length(p.model) DESC, p.valid_from DESC
    LIMIT 1
$$;
