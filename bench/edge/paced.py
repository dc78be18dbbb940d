"""Latency of cached hits at half load: every server gets the same requests per second, half of what the
fastest peer can do here."""

import statistics
import sys
import time

import candidates
import rig

CONNECTIONS = 64
PATH = "/1k.bin"
SETTLE_SECONDS = 2  # what the server before it held goes back to the kernel, on the same core


def _load(port, seconds, *rate):
    argv = [rig.binary("leeward-bench-load"), str(port), PATH, str(CONNECTIONS), str(seconds), *rate]
    return rig.run_json(argv, seconds + 30)


def paced(run, seconds, rounds):
    makers = candidates.makers()
    measured, peak = {}, {}
    with candidates.responder(run, rig.CLIENT_CORE) as origin:
        for name in (n for n in makers if n != "leeward"):
            with makers[name](run, [origin.port]) as candidate:
                peak[name] = _load(candidate.port, 2)["rate"]
        if not peak:
            sys.exit("half of what the fastest peer can do: install a peer")
        best = max(peak, key=peak.get)
        print(f"{peak[best] / 2:,.0f} requests/s for each, half of {best}'s {peak[best]:,.0f}")
        order = list(makers.items())
        for _ in range(rounds):
            order.append(order.pop(0))  # nobody always comes behind the one that leaves the most to clear away
            for name, make in order:
                with make(run, [origin.port]) as candidate:
                    time.sleep(SETTLE_SECONDS)
                    measured.setdefault(name, []).append(
                        _load(candidate.port, seconds, f"{peak[best] / 2:.0f}"))
    rows = [["server", "requests/s", "p50 µs", "p99 µs", "of windows µs", "longest µs", "leeward's ratio to it"]]
    for name, runs in measured.items():
        ratio = rig.paired_ratio([r["windowed_p99"] for r in measured["leeward"]], [r["windowed_p99"] for r in runs])
        rows.append([name, f"{statistics.median(r['rate'] for r in runs):.0f}",
                     *(rig.show(rig.spread(1e6 * r[key] for r in runs)) for key in ("p50", "p99", "windowed_p99", "max")),
                     "" if name == "leeward" else rig.show(ratio, 2)])
    rig.table(rows)
    return measured
