"""The DNS."""

from collections.abc import Sequence
from datetime import timedelta

import dns.asyncresolver
import dns.exception
import dns.resolver
from dns.nameserver import Do53Nameserver

from docuchat_auth.domains.errors import DnsUnavailable

_PORT = 53


class NameServers:
    """Asks name servers, the machine's own where none are given."""

    def __init__(self, servers: Sequence[str], timeout: timedelta) -> None:
        """`servers` are addresses, `192.0.2.1` or `192.0.2.1:5353`."""
        self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            self._resolver.nameservers = [Do53Nameserver(*parse_name_server(server)) for server in servers]
        self._resolver.lifetime = timeout.total_seconds()
        self._resolver.cache = None

    async def texts_of(self, name: str) -> list[str]:
        """The TXT records of a name; none where there is no such name. Raises DnsUnavailable."""
        try:
            answer = await self._resolver.resolve(f"{name}.", "TXT", search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise DnsUnavailable from error
        return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]


def parse_name_server(text: str) -> tuple[str, int]:
    """Address and port of `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port.removeprefix(":") or _PORT)
    address, separator, port = text.partition(":")
    return (text, _PORT) if ":" in port else (address, int(port) if separator else _PORT)
