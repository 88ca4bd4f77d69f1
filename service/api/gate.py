"""Who wants something transcribed in, whether it may out: the same for every protocol, for requests and WebSockets."""

from ipaddress import ip_address, ip_network

from starlette.requests import HTTPConnection

from service.api import auth
from service.api.client import Caller
from service.api.keyring import Keyring
from service.api.quota import Quotas
from service.api.trace import trace_of

IPV6_SITE_BITS = 64
"""Of an address; the others are whatever somebody who has such a network likes."""


class Gate:
    """Asks for a key, where there are keys, and keeps clients to their quotas."""

    def __init__(self, keyring: Keyring, quotas: Quotas) -> None:
        self._keyring, self._quotas = keyring, quotas

    def let_in(self, connection: HTTPConnection) -> Caller:
        """Count a request or a stream, until its trace ends.

        Raises:
            InvalidKey: there are keys and it has none of them.
            InsufficientScope: it has one that is not for this.
            ForeignOrigin: there are none, and a page from elsewhere opens a WebSocket.
            RateLimited: its client has used what it may.
        """
        caller = auth.check(connection, self._keyring)
        allowance = trace_of(connection).allowance = self._quotas.allowance(payer(caller), caller.limits)
        allowance.admit()
        return caller

    def charge(self, client: str, audio_s: float) -> None:
        """For what was recognised while nobody waited for it."""
        key = self._keyring.named(client)
        caller = Caller(client, by_key=True, limits=key.limits) if key else Caller(client)
        self._quotas.allowance(payer(caller), caller.limits).reach(audio_s)


def payer(caller: Caller) -> str:
    """Whose quota it is: that of the key, else of the address or, in IPv6, of the network that a site is given."""
    if caller.by_key:
        return caller.name
    try:
        address = ip_address(caller.name)
    except ValueError:  # none, or what a proxy says of one
        return caller.name
    return caller.name if address.version == 4 else str(ip_network((int(address), IPV6_SITE_BITS), strict=False))
