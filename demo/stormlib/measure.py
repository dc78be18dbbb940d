"""Numbers out of attempts and events. Pure functions; times are seconds of one monotonic clock."""

import dataclasses
import math

# What the platform promises; a storm that measures more than this has failed.
LIMITS = {
    "detection_seconds": 4.0,
    "rto_seconds": 10.0,
    "pinned_rto_seconds": 6.0,
    "rpo_seconds": 1.0,
    "orders_lost": 0,
    "writers_overlap_seconds": 0.0,
    "standby_programs": 0,
    "switchback_failed_requests": 0,
    "switchback_max_stall_seconds": 3.0,
}


def acknowledged(attempts):
    """Identities of all orders that a client was told to be taken."""
    return {a.order for a in attempts if a.kind == "order" and a.ok}


def outage(attempts, fault_at):
    """(last acknowledgement before the outage, first one after it), or None when it never came back.

    An order that was on its way when the fault struck may still be acknowledged a moment after it, so
    the outage is the longest pause between acknowledgements that ends after the fault.
    """
    acks = sorted(a.ended for a in attempts if a.kind == "order" and a.ok)
    pauses = [(after - before, before, after) for before, after in zip(acks, acks[1:])
              if after > fault_at]
    if not pauses:
        return None
    _, before, after = max(pauses)
    return before, after


def first_failure(attempts, since):
    """The end of the first failed request that began at or after `since`, or None."""
    return min((a.ended for a in attempts if not a.ok and a.started >= since), default=None)


def writers_overlap(attempts):
    """How long two epochs acknowledged orders at the same time.

    Each epoch spans the closed interval from its first to its last acknowledgement. Repeated
    acknowledgements of an order that existed already do not count: they say when the client asked, not
    when the writer wrote.
    """
    spans = {}
    for a in attempts:
        if a.kind == "order" and a.ok and a.fresh:
            first, last = spans.get(a.epoch, (math.inf, -math.inf))
            spans[a.epoch] = (min(first, a.ended), max(last, a.ended))
    ordered = [spans[epoch] for epoch in sorted(spans)]
    worst = 0.0
    for i, (first_a, last_a) in enumerate(ordered):
        for first_b, last_b in ordered[i + 1:]:
            worst = max(worst, min(last_a, last_b) - max(first_a, first_b))
    return worst


def servers_by_epoch(attempts):
    """{epoch: set of server ids that acknowledged orders under it}: more than one is a broken promise."""
    found = {}
    for a in attempts:
        if a.kind == "order" and a.ok and a.fresh:
            found.setdefault(a.epoch, set()).add(a.server_id)
    return found


def recovery_point(attempts, fault_at, survivor):
    """Age at the fault of the oldest acknowledged order that the survivor lacks; 0 when it lacks none.

    An order is at the latest as old as its acknowledgement; it is counted from when it was sent, so the
    number errs upward.
    """
    missing = [a.started for a in attempts
               if a.kind == "order" and a.ok and a.ended <= fault_at and a.order not in survivor]
    return max(0.0, fault_at - min(missing)) if missing else 0.0


def failed_between(attempts, start, end):
    """Requests that failed and were under way at some time of the interval."""
    return [a for a in attempts if not a.ok and a.ended >= start and a.started <= end]


def longest_stall(attempts, start, end):
    """The longest that a customer waited for an answer, or that nobody got one, in the interval."""
    inside = [a for a in attempts if a.ended >= start and a.started <= end]
    waits = [a.seconds for a in inside]
    acks = sorted(a.ended for a in inside if a.ok)
    pauses = [after - before for before, after in zip(acks, acks[1:])]
    return max(waits + pauses, default=0.0)


@dataclasses.dataclass
class Value:
    """One line of the report. `number` None means: does not apply, and `note` says why."""

    number: float | int | None
    note: str = ""


def broken(values, limits=LIMITS):
    """Sentences about the promises that did not hold."""
    sentences = []
    for key, limit in limits.items():
        value = values.get(key)
        if value is None or value.number is None:
            continue
        if value.number > limit:
            sentences.append(f"{key} is {value.number:g}, the limit is {limit:g}")
    return sentences
