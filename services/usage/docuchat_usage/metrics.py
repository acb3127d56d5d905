"""What operators watch on the metrics port."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

holds: Final = Counter(
    "docuchat_holds", "Holds by outcome; a refusal by the layer that refused.", ["outcome", "subject"]
)
bookings: Final = Counter("docuchat_usage_bookings", "Usage events booked.", ["kind"])
tokens: Final = Counter("docuchat_usage_tokens", "Tokens booked.", ["kind", "direction"])
unpriced: Final = Counter("docuchat_usage_unpriced", "Bookings for which only the fallback price fitted.", ["kind"])
