"""The only way to a model provider: a call is a row before it is made, and is settled exactly once.

A started call becomes settled, which adds its usage event to the outbox of the same transaction, or void, when the
provider cannot have billed anything. The event's id derives from the call's, so the books get one entry however often
and by whomever the settlement is repeated. A call whose owner died is booked as expected, `estimated`. What the ledger
does not have after a while is announced again.
"""

from docuchat_common.metering.bounds import Anomaly, Bounded, TokenBounds, Used, bounded, used_of
from docuchat_common.metering.calls import ProviderCall, SubjectKind, call_id_of, event_id_of, usage_events
from docuchat_common.metering.meter import Ledger, Metering, OpenCall, compare_books
from docuchat_common.metering.repository import ProviderCallClosed, ProviderCalls, StartedCall, without_waiting

__all__ = [
    "Anomaly",
    "Bounded",
    "Ledger",
    "Metering",
    "OpenCall",
    "ProviderCall",
    "ProviderCallClosed",
    "ProviderCalls",
    "StartedCall",
    "SubjectKind",
    "TokenBounds",
    "Used",
    "bounded",
    "call_id_of",
    "compare_books",
    "event_id_of",
    "usage_events",
    "used_of",
    "without_waiting",
]
