"""What operators watch on the metrics port."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

holds: Final = Counter(
    "docuchat_holds", "Holds by outcome; a refusal by the layer that refused.", ["outcome", "subject"]
)
open_holds: Final = Gauge("docuchat_holds_open", "Open holds; lapsed ones wait for the sweep.", ["lease"])
bookings: Final = Counter("docuchat_usage_bookings", "Usage events booked.", ["kind"])
tokens: Final = Counter("docuchat_usage_tokens", "Tokens booked.", ["kind", "direction"])
cost: Final = Counter("docuchat_usage_cost_usd", "Cost booked, in USD.", ["kind"])
unpriced: Final = Counter("docuchat_usage_unpriced", "Bookings for which only the fallback price fitted.", ["kind"])
anomalies: Final = Counter("docuchat_usage_absurd", "Usage events refused: no call has so many tokens.", ["kind"])
