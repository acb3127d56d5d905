"""Members: the people of a tenant, as its admins manage them."""
