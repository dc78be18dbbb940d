"""The client's stub resolver: a cache that honours TTLs over real DNS packets.

It asks the name servers in turn, beginning with the one that answered last, half a second each; like
the resolvers of operating systems it has no other idea of which of them are alive. An answer past its
TTL is never used, so the storm sees what a user behind a caching resolver sees. Thread-safe; callers
that need the same name at the same time share one question.
"""

import threading
import time

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

_ATTEMPT_SECONDS = 0.5


class ResolveError(Exception):
    """No name server gave an address."""


class Resolver:
    def __init__(self, servers, port):
        self._servers = list(servers)
        self._port = port
        self._lock = threading.Lock()
        self._cache = {}
        self._first = 0

    def resolve(self, name):
        """The first IPv4 address of `name`; raises ResolveError."""
        return self.resolve_all(name)[0]

    def resolve_all(self, name):
        """The IPv4 addresses of `name` in the order of the answer, at least one; raises ResolveError."""
        with self._lock:
            addresses, expires = self._cache.get(name, (None, 0.0))
            if time.monotonic() < expires:
                return addresses
            addresses, ttl = self._ask(name)
            self._cache[name] = (addresses, time.monotonic() + ttl)
            return addresses

    def _ask(self, name):
        problems = []
        for step in range(len(self._servers)):
            index = (self._first + step) % len(self._servers)
            server = self._servers[index]
            query = dns.message.make_query(name, dns.rdatatype.A)
            try:
                answer = dns.query.udp(query, server, timeout=_ATTEMPT_SECONDS, port=self._port)
            except (dns.exception.DNSException, OSError) as error:
                problems.append(f"{server}: {type(error).__name__}")
                continue
            for rrset in answer.answer:
                if rrset.rdtype == dns.rdatatype.A and len(rrset) > 0:
                    self._first = index
                    return [data.address for data in rrset], rrset.ttl
            problems.append(f"{server}: no address in the answer")
        raise ResolveError("; ".join(problems))
