"""What a service says to the gateway of an answer to somebody who is not signed in."""

from typing import Final

TENANT_HEADER: Final = "X-Answers-For-Tenant"
"""The number of the tenant whose words an answer has: the gateway gives none of a tenant that is suspended, and takes
the header away."""
