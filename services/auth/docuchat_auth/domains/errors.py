"""What can go wrong with domains. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, InvalidInput, NotFound, UpstreamUnavailable


class DomainNotFound(NotFound):
    """There is no such domain of yours."""

    code = "domain_not_found"


class InvalidDomain(InvalidInput):
    """This is no domain of mail; one looks like acme.example."""

    code = "invalid_domain"


class DomainKnown(Conflict):
    """The tenant has this domain already; list the domains to see its record."""

    code = "domain_known"


class TooManyDomains(Conflict):
    """A tenant may have 50 domains; delete one first."""

    code = "too_many_domains"


class DomainNotProven(Conflict):
    """The DNS does not hold the record that proves this domain; publish it, wait until it is seen, and try again."""

    code = "domain_not_proven"


class DomainTaken(Conflict):
    """Another tenant has proven this domain, and must give it up first."""

    code = "domain_taken"


class DomainInUse(Conflict):
    """The tenant's sign-up names this domain; take it out there first."""

    code = "domain_in_use"


class DnsUnavailable(UpstreamUnavailable):
    """The name servers did not answer; try again shortly."""

    code = "dns_unavailable"
