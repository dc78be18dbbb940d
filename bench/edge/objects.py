"""Memory for very many small objects: what each server's processes hold after they were asked for a million
different ones, all of which are still there when the origin is gone."""

import http.client
import pathlib

import candidates
import rig

ASKED_AGAIN = 2000


def _resident(server):
    """Bytes that the process group holds, shared pages counted once (PSS)."""
    total = 0
    for process in server.processes():
        try:
            text = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss:"))
    return total


def _still_there(port, count):
    """Of ASKED_AGAIN objects all over the million, those that are answered without an origin."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    found = 0
    for number in range(0, count, max(1, count // ASKED_AGAIN)):
        connection.request("GET", f"/object/{number}", headers={"Host": "bench"})
        response = connection.getresponse()
        response.read()
        found += response.status == 200
    connection.close()
    return found


def objects(run, count):
    rows = [["server", "empty MB", "full MB", "bytes an object", "of them body", "still there"]]
    results = {}
    for name, make in candidates.makers().items():
        if name == "nginx":
            continue  # its objects are files
        origin = candidates.responder(run, rig.CLIENT_CORE)
        with origin, make(run, [origin.port]) as candidate:
            empty = _resident(candidate.server)
            rig.run_json([rig.binary("leeward-bench-load"), str(candidate.port), "/object/#", "64", "all",
                          str(count)], 1300)
            full = _resident(candidate.server)
            origin.server.stop()
            there = _still_there(candidate.port, count)
        results[name] = {"empty": empty, "full": full, "there": there}
        rows.append([name, f"{empty / 1e6:.0f}", f"{full / 1e6:.0f}", f"{(full - empty) / count:.0f}", "1024",
                     f"{there} of {len(range(0, count, max(1, count // ASKED_AGAIN)))}"])
    rig.table(rows)
    return results
