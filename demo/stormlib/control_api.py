"""Leeward's control API and the agents' ledger API, as a client that gives up in time."""

import datetime
import http.client
import json
import threading
import time


class ApiError(Exception):
    """The API could not be reached (status 0) or said no."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def call(endpoint, method, path, token, body=None, seconds=2.0):
    """The decoded JSON answer; raises ApiError."""
    connection = http.client.HTTPConnection(*endpoint, timeout=seconds)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read().decode()
        answer = json.loads(text) if text else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ApiError(0, f"{endpoint[0]}:{endpoint[1]}{path}: {error!r}") from error
    finally:
        connection.close()
    if response.status >= 300:
        message = answer.get("error", {}).get("message", text) if isinstance(answer, dict) else text
        raise ApiError(response.status, message)
    return answer


def parse_time(text):
    """Seconds since 1970 of an RFC 3339 time."""
    return datetime.datetime.fromisoformat(text).timestamp()


class Events:
    """Follows the audit trail in a thread, through restarts of control. Thread-safe.

    Each event keeps the server's fields, with "at": its time on this machine's monotonic clock.
    `on_event` is called in the follower's thread.
    """

    _WAIT_MS = 1000

    def __init__(self, endpoint, token, on_event=None):
        self._endpoint = endpoint
        self._token = token
        self._on_event = on_event
        self._wall_minus_monotonic = time.time() - time.monotonic()
        self._changed = threading.Condition()
        self._events = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="events", daemon=True)
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join(timeout=5)

    def all(self):
        with self._changed:
            return list(self._events)

    def first(self, since, **fields):
        """The first event at or after the monotonic time `since` whose fields are as given, or None.

        A value may also be a function of the event's value.
        """
        for event in self.all():
            if event["at"] >= since and _matches(event, fields):
                return event
        return None

    def wait(self, since, seconds, **fields):
        """As first(), but waits for it; None after `seconds`."""
        deadline = time.monotonic() + seconds
        while (event := self.first(since, **fields)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            with self._changed:
                self._changed.wait(min(left, 0.2))
        return event

    def _follow(self):
        after = 0
        while not self._stop.is_set():
            try:
                path = f"/v1/events?after={after}&limit=500&wait_ms={self._WAIT_MS}"
                batch = call(self._endpoint, "GET", path, self._token, seconds=3.0)["events"]
            except ApiError:
                self._stop.wait(0.1)
                continue
            for event in batch:
                after = max(after, event["sequence"])
                event["at"] = parse_time(event["time"]) - self._wall_minus_monotonic
                with self._changed:
                    self._events.append(event)
                    self._changed.notify_all()
                if self._on_event:
                    self._on_event(event)


def _matches(event, fields):
    for name, wanted in fields.items():
        value = event.get(name)
        if not (wanted(value) if callable(wanted) else value == wanted):
            return False
    return True
