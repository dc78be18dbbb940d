"""The shop's customers: they resolve the name, place orders, ask again when no answer came, and write
down what happened to every single attempt.

The rules are those of an honest client. An order is acknowledged when a 2xx answer arrived and not
before; each attempt has a deadline; after a failure the same order, with the same identity, is tried
again, so that the shop never takes it twice.
"""

import dataclasses
import http.client
import json
import socket
import threading
import time
import uuid

from stormlib import layout as layouts, resolver as resolvers

CONNECT_SECONDS = 1.0
# Also the longest pause in a planned move that a customer sits out instead of seeing an error.
ANSWER_SECONDS = 4.0
_RETRY_SECONDS = 0.2


@dataclasses.dataclass
class Attempt:
    """One try of one request. Times are of the monotonic clock."""

    kind: str        # "order" or "page"
    order: str       # client_order_id, empty for a page
    started: float
    ended: float
    ok: bool
    status: int      # HTTP status, 0 without an answer
    address: str     # of the site that was asked (last), empty when the name did not resolve
    place: str = ""  # where the client stood: "outside", "pinned" (outside, and keeps to the address
                     # or addresses that it resolved first), or the name of a site
    fresh: bool = False   # this attempt made the order; false for the repetition of an acknowledged one
    server_id: int = 0    # of the database that committed the order, with ok
    epoch: int = 0
    detail: str = ""

    @property
    def seconds(self):
        return self.ended - self.started


class Journal:
    """Attempts in memory and, line by line, in a file. Thread-safe."""

    def __init__(self, path):
        self._lock = threading.Lock()
        self._attempts = []
        self._file = open(path, "w", encoding="utf-8", buffering=1)

    def add(self, attempt):
        line = json.dumps(dataclasses.asdict(attempt))
        with self._lock:
            self._attempts.append(attempt)
            if not self._file.closed:
                self._file.write(line + "\n")

    def attempts(self):
        with self._lock:
            return list(self._attempts)

    def close(self):
        with self._lock:
            self._file.close()


def connect(addresses):
    """(address, connection) of the first of `addresses` where somebody listens, as any HTTP client goes
    through the addresses of a name; raises OSError when there is none."""
    for address in addresses[:-1]:
        connection = http.client.HTTPConnection(address, layouts.EDGE_PORT, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
            return address, connection
        except OSError:
            connection.close()
    last = http.client.HTTPConnection(addresses[-1], layouts.EDGE_PORT, timeout=CONNECT_SECONDS)
    last.connect()
    return addresses[-1], last


def place_order(address, identity, seconds):
    """One order at the edge of `address`, tried for so long until it is taken; the decoded answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            _, connection = connect([address])
            status, text = request(connection, "POST", "/api/orders",
                                   {"client_order_id": identity, "product": 1, "quantity": 1})
            if status < 300:
                return json.loads(text)
        except OSError as error:
            text = str(error)
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


def request(connection, method, path, body=None):
    """(status, text) of one HTTP exchange with an edge; raises OSError or HTTPException."""
    try:
        connection.sock.settimeout(ANSWER_SECONDS)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers = {"Host": layouts.SERVICE, "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


class Customers:
    """Threads that order, and one that looks at the catalogue, until stop().

    `locate` gives the addresses to try in turn and may raise ResolveError; `prepare` is called first in
    each thread (to move it to another namespace).
    """

    def __init__(self, journal, locate, place="outside", workers=8, orders_per_second=20.0,
                 pages_per_second=5.0, prepare=lambda: None):
        self._journal = journal
        self._locate = locate
        self._place = place
        self._prepare = prepare
        self._stop = threading.Event()
        self._name = uuid.uuid4().hex[:8]
        self._threads = [
            threading.Thread(target=self._run, name=f"customer-{i}", daemon=True,
                             args=(self._order, workers / orders_per_second, i / orders_per_second))
            for i in range(workers)]
        if pages_per_second:
            self._threads.append(threading.Thread(
                target=self._run, name="reader", daemon=True,
                args=(self._page, 1.0 / pages_per_second, 0.0)))
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Ends after the requests that are under way; no new ones are begun."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=CONNECT_SECONDS + ANSWER_SECONDS + 5)

    def _run(self, action, interval, offset):
        self._prepare()
        due = time.monotonic() + offset
        number = 0
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            number += 1
            action(f"{self._name}-{threading.current_thread().name}-{number}")
            # A customer who was kept waiting does not order twice as fast afterwards.
            due = max(due + interval, time.monotonic())

    def _order(self, identity):
        body = {"client_order_id": identity, "product": 1 + len(identity) % 6, "quantity": 1}
        while True:
            attempt = self._attempt("order", identity, "POST", "/api/orders", body)
            self._journal.add(attempt)
            if attempt.ok or self._stop.wait(_RETRY_SECONDS):
                return

    def _page(self, _):
        self._journal.add(self._attempt("page", "", "GET", "/products"))

    def _attempt(self, kind, order, method, path, body=None):
        attempt = Attempt(kind, order, time.monotonic(), 0.0, False, 0, "", self._place)
        try:
            addresses = self._locate()
            attempt.address = addresses[0]
            attempt.address, connection = connect(addresses)
            attempt.status, text = request(connection, method, path, body)
            attempt.ok = 200 <= attempt.status < 300
            if not attempt.ok:
                attempt.detail = text[:300]
            elif kind == "order":
                answer = json.loads(text)
                attempt.fresh = not answer["existing"]
                attempt.server_id, attempt.epoch = answer["server_id"], answer["epoch"]
        except (OSError, http.client.HTTPException, resolvers.ResolveError, ValueError, KeyError) as error:
            attempt.ok = False
            attempt.detail = f"{type(error).__name__}: {error}"
        attempt.ended = time.monotonic()
        return attempt
