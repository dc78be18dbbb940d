"""The cache-tests suite against caches that stand before its origin; conformance.sh says what it is."""

import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True
import rig  # noqa: E402
import candidates  # noqa: E402

RUNNER = str(pathlib.Path(__file__).resolve().parent / "conformance.mjs")
KINDS = ("required", "optimal", "check")
SECONDS_MAX = 600

# Tests of the package's version, older than RFC 9111, that ask for what nobody should or can do; later
# versions of the suite ask for the contrary, or for nothing.
AGE = "RFC 9111 §5.1: an Age that is no number is ignored, and of several the first one counts"
SUPERSEDED = {
    **{f"age-parse-{name}": AGE for name in (
        "nonnumeric", "negative", "float", "prefix-twoline", "dup-0", "dup-0-twoline", "dup-old",
        "parameter", "numeric-parameter")},
    **{f"stale-close-{name}": "the origin hung up: a proxy cannot answer as it would have" for name in (
        "must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=2")},
    "304-etag-update-response-ETag": "RFC 9111 §4.3.4: a 304 with another ETag updates nothing",
}

LEEWARD = """
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ o: {{ servers: ["127.0.0.1:{origin}"] }} }}
cache_policies:
  all: {{ set_cookie: store, heuristic_percent: 10, store_post: true, compress: false }}
routes: [{{ origins: o, cache: all, writer: none }}]
"""
NGINX = """daemon off; worker_processes 1; pid {run}/nginx.pid; error_log {run}/nginx.err;
events {{ worker_connections 4096; }}
http {{ access_log off; {temporary}
 proxy_cache_path {run}/nginx-cache levels=1:2 keys_zone=c:8m max_size=100m inactive=600m use_temp_path=off;
 server {{ listen 127.0.0.1:{port};
  location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_cache c; proxy_cache_revalidate on; }} }} }}
"""
HAPROXY = """defaults
  mode http
  timeout connect 1s
  timeout client 1m
  timeout server 30s
cache c
  total-max-size 64
  max-age 3600
  process-vary on
frontend f
  bind 127.0.0.1:{port}
  http-request cache-use c
  http-response cache-store c
  default_backend b
backend b
  server o 127.0.0.1:{origin}
"""
VARNISH = 'vcl 4.1;\nbackend o {{ .host = "127.0.0.1"; .port = "{origin}"; }}\n'


def leeward(run, origin):
    import edge_rig  # the tests' own configuration
    port = rig.free_port()
    edge = edge_rig.Edge(run, LEEWARD.format(port=port, origin=origin))
    return port, [rig.binary("leeward"), "edge", "--config", str(edge.directory / "leeward.yaml"),
                  "--site", "gcp"]


def peer(text, argv):
    """A peer whose configuration is one file."""
    def make(run, origin):
        port, config = rig.free_port(), run / "config"
        config.write_text(text.format(run=run, port=port, origin=origin,
                                      temporary=candidates.temporary(run, "n")))
        return port, [word.format(run=run, port=port, config=config) for word in argv]
    return make


CACHES = {
    "leeward": (None, leeward),
    "nginx": (("nginx", "nginx"), peer(NGINX, ["nginx", "-c", "{config}"])),
    "haproxy": (("haproxy", "haproxy"), peer(HAPROXY, ["haproxy", "-db", "-f", "{config}"])),
    "varnish": (("varnishd", "varnish"), peer(VARNISH, [
        "varnishd", "-F", "-n", "{run}/varnish", "-j", "none", "-a", "127.0.0.1:{port}", "-T", "none",
        "-f", "{config}", "-s", "malloc,64M"])),
}


def run_suite(suite, make):
    """{test: {suite, kind, result, why}} of one cache."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder)
        run.chmod(0o755)  # nginx's worker is another user
        origin = rig.free_port()
        behind = rig.Server(["node", "--no-warnings", RUNNER, "origin", suite, str(origin)],
                            run / "origin.log", rig.CLIENT_CORE)
        try:
            behind.wait_until(lambda: rig.accepts(origin))
            port, argv = make(run, origin)
            server = rig.Server(argv, run / "log")
            try:
                server.wait_until(lambda: rig.accepts(port))
                return rig.run_json(["node", "--no-warnings", RUNNER, "run", suite,
                                     f"http://127.0.0.1:{port}"], SECONDS_MAX)
            finally:
                server.stop()
        finally:
            behind.stop()


def show(results):
    """Prints the counts of every cache, and what ours did not pass."""
    rows = [["cache", *KINDS, "all"]]
    for name, report in results.items():
        of = {kind: [t["result"] == "pass" for t in report.values() if t["kind"] == kind]
              for kind in KINDS}
        rows.append([name, *(f"{sum(of[kind])} of {len(of[kind])}" for kind in KINDS),
                     f"{sum(map(sum, of.values()))} of {len(report)}"])
    rig.table(rows)
    ours = [t for name, t in results["leeward"].items()
            if t["kind"] == "required" and (t["result"] == "pass" or name not in SUPERSEDED)]
    print(f"leeward, required and not superseded: {sum(t['result'] == 'pass' for t in ours)} of {len(ours)}")
    for kind in KINDS:
        missed = [(name, t) for name, t in results["leeward"].items()
                  if t["kind"] == kind and t["result"] != "pass"]
        if missed:
            print(f"\nleeward, {kind}, not passed:")
        for name, test in missed:
            why = SUPERSEDED.get(name) or test["why"] or "see what it builds on"
            print(f"  {'old' if name in SUPERSEDED else test['result']:8}{name}: {why}")


def main():
    suite, wanted = sys.argv[1], ["leeward", *sys.argv[2:]]
    unknown = [name for name in wanted if name not in CACHES]
    if unknown:
        sys.exit(f"there is no cache '{unknown[0]}' here; choose from {', '.join(CACHES)}")
    results = {}
    for name in dict.fromkeys(wanted):
        program, make = CACHES[name]
        if program is None or rig.installed(*program):
            results[name] = run_suite(suite, make)
    show(results)
    rig.write_json("conformance", {"results": results})


if __name__ == "__main__":
    main()
