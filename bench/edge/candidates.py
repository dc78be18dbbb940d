"""The proxies that are compared, each in front of the same origins, configured by the same rules: one
thread, no access log, keep-alive without end, and for hits a cache in memory."""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests/system"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "demo"))
import rig  # noqa: E402

NGINX = """daemon off; worker_processes 1; pid {run}/nginx.pid; error_log {run}/nginx.err;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300s;
 open_file_cache max=1000 inactive=300s; {temporary}
 proxy_cache_path {run}/nginx-cache levels=1:2 keys_zone=c:16m max_size=500m inactive=60m use_temp_path=off;
 upstream o {{ {servers} keepalive 64; }}
 server {{ listen 127.0.0.1:{port} backlog=1024; listen 127.0.0.1:{tls} ssl http2 backlog=1024;
  ssl_certificate {run}/cert.pem; ssl_certificate_key {run}/cert.key; http2_max_requests 100000000;
  location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection "";
   proxy_cache c; proxy_connect_timeout 500ms; proxy_read_timeout 1s;
   proxy_next_upstream error timeout http_500 http_502 http_503 http_504; }} }} }}
"""
HAPROXY = """global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 500ms
  timeout client 1m
  timeout server 1s
  option redispatch 1
  retries 2
  retry-on conn-failure empty-response response-timeout 500 502 503 504
cache c
  total-max-size 4000
  max-object-size 300000
  max-age 3600
frontend f
  bind 127.0.0.1:{port} backlog 1024
  bind 127.0.0.1:{tls} ssl crt {run}/both.pem alpn h2,http/1.1 backlog 1024
  http-request disable-l7-retry if METH_POST
  http-request cache-use c
  http-response cache-store c
  default_backend b
backend b
  option httpchk GET /health
  default-server inter 500ms fastinter 200ms fall 2 rise 2
  timeout check 300ms
  {servers}
"""
VARNISH = """vcl 4.1;
import directors;
probe pr {{ .url = "/health"; .interval = 500ms; .timeout = 300ms; .window = 3; .threshold = 2; .initial = 2; }}
{backends}
sub vcl_init {{ new d = directors.fallback(); {members} }}
sub vcl_recv {{ set req.backend_hint = d.backend();
 if (req.method != "GET" && req.method != "HEAD") {{ return (pass); }} }}
sub vcl_backend_response {{
 if (beresp.status >= 500 && bereq.method == "GET" && bereq.retries == 0) {{ return (retry); }} }}
sub vcl_backend_error {{ if (bereq.method == "GET" && bereq.retries == 0) {{ return (retry); }} }}
"""
LEEWARD = """
listeners:
  - {{ address: 127.0.0.1, port: {port} }}
  - {{ address: 127.0.0.1, port: {tls}, tls: true }}
certificates: [{{ chain: {run}/cert.pem, key: {run}/cert.key }}]
origins:
  o:
    servers: [{servers}]
    check: {{ path: /health, interval: 500ms, timeout: 300ms }}
cache_policies: {{ all: {{ }} }}
routes: [{{ origins: o, cache: all, writer: none }}]
timeouts: {{ connect: 500ms, first_byte: 1s }}
threads: 1
cache: {{ memory_bytes_max: 4294967296 }}
"""


def temporary(run, name):
    """nginx directives that keep its temporary files below `run`."""
    return " ".join(f"{kind}_temp_path {run}/{name}-{kind};"
                    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def prepare(run):
    """A certificate, in a folder that every server's user may enter."""
    run.chmod(0o755)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=bench",
                    "-keyout", run / "cert.key", "-out", run / "cert.pem"],
                   check=True, capture_output=True, timeout=20)
    (run / "both.pem").write_text((run / "cert.pem").read_text() + (run / "cert.key").read_text())


class Candidate:
    """A started proxy: `port`, `tls` (0: none) and `server`, with cpu() and stop()."""

    def __init__(self, name, server, port, tls=0):
        self.name, self.server, self.port, self.tls = name, server, port, tls

    def __enter__(self):
        self.server.wait_until(lambda: rig.accepts(self.port))
        return self

    def __exit__(self, *_):
        self.server.stop()


def leeward(run, origins, config=LEEWARD):
    import edge_rig  # the tests' own configuration
    port, tls = rig.free_port(), rig.free_port()
    folder = run / f"leeward-{port}"
    folder.mkdir()
    edge = edge_rig.Edge(folder, config.format(
        run=run, port=port, tls=tls, servers=", ".join(json.dumps(f"127.0.0.1:{o}") for o in origins)))
    server = rig.Server([rig.binary("leeward"), "edge", "--config", str(edge.directory / "leeward.yaml"),
                         "--site", "gcp"], folder / "log")
    return Candidate("leeward", server, port, tls)


def _nginx(run, origins):
    port, tls = rig.free_port(), rig.free_port()
    servers = f"server 127.0.0.1:{origins[0]} max_fails=1 fail_timeout=2s; " + \
        " ".join(f"server 127.0.0.1:{o} backup;" for o in origins[1:])
    config = run / f"nginx-{port}.conf"
    config.write_text(NGINX.format(run=run, port=port, tls=tls, servers=servers,
                                   temporary=temporary(run, "n")))
    return Candidate("nginx", rig.Server(["nginx", "-c", str(config)], run / "nginx.log"), port, tls)


def _haproxy(run, origins):
    port, tls = rig.free_port(), rig.free_port()
    servers = "\n  ".join(
        f"server s{i} 127.0.0.1:{o} check observe layer7 error-limit 5 on-error mark-down"
        f" on-marked-down shutdown-sessions{' backup' if i else ''}" for i, o in enumerate(origins))
    config = run / f"haproxy-{port}.cfg"
    config.write_text(HAPROXY.format(run=run, port=port, tls=tls, servers=servers))
    return Candidate("haproxy", rig.Server(["haproxy", "-db", "-f", str(config)], run / "haproxy.log"),
                     port, tls)


def _varnish(run, origins):
    port = rig.free_port()
    backends = "\n".join(f'backend b{i} {{ .host = "127.0.0.1"; .port = "{o}"; .probe = pr; '
                         f'.connect_timeout = 500ms; .first_byte_timeout = 1s; }}'
                         for i, o in enumerate(origins))
    members = " ".join(f"d.add_backend(b{i});" for i in range(len(origins)))
    config = run / f"varnish-{port}.vcl"
    config.write_text(VARNISH.format(backends=backends, members=members))
    argv = ["varnishd", "-F", "-n", str(run / f"varnish-{port}"), "-j", "none", "-a",
            f"127.0.0.1:{port}", "-T", "none", "-f", str(config), "-p", "thread_pools=1", "-p",
            "thread_pool_min=80", "-p", "timeout_idle=300", "-s", "malloc,4G"]
    return Candidate("varnish", rig.Server(argv, run / "varnish.log"), port)


def responder(run, core=rig.SERVER_CORE):
    port = rig.free_port()
    return Candidate("responder", rig.Server([rig.binary("leeward-bench-responder"), str(port)],
                                             run / "responder.log", core), port)


_PEERS = {"nginx": ("nginx", "nginx", _nginx), "haproxy": ("haproxy", "haproxy", _haproxy),
          "varnish": ("varnishd", "varnish", _varnish)}


def makers():
    """{name: function(run, origins)} of everything that is installed; ours is first."""
    found = {"leeward": leeward}
    for name, (program, package, make) in _PEERS.items():
        if rig.installed(program, package):
            found[name] = make
    return found
