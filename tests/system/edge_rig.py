"""One `leeward edge` with origins of its own on free loopback ports, and raw HTTP/1.1 to talk to it."""

import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
import time

from stormlib import layout

_HOST = "127.0.0.1"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


_given = set()  # by free_ports()


def free_ports(count):
    """Ports that nobody listens on now, and that no other call in this process has been given."""
    sockets, ports = [], []
    try:
        while len(ports) < count:
            sockets.append(socket.socket())
            sockets[-1].bind((_HOST, 0))
            port = sockets[-1].getsockname()[1]
            if port not in _given:
                _given.add(port)
                ports.append(port)
        return ports
    finally:
        for s in sockets:
            s.close()


def _exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class Authority:
    """A certificate authority of its own, with files in `directory`: NAME.pem and NAME.key."""

    def __init__(self, directory, name="ca"):
        self.directory, self.name = pathlib.Path(directory), name
        self._openssl("req", "-x509", *_NEW_KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout",
                      f"{name}.key", "-out", f"{name}.pem")

    def issue(self, name, names, days=2):
        """A certificate for `names` ("DNS:a.test,IP:127.0.0.1"); expired with negative `days`."""
        self._openssl("req", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out",
                      f"{name}.csr")
        (self.directory / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey",
                      f"{self.name}.key", "-CAcreateserial", "-days", str(days), "-extfile",
                      f"{name}.ext", "-out", f"{name}.pem")

    def server(self, name, asks_for=None):
        """A server's context with that certificate; `asks_for`: who must have signed the client's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        if asks_for is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.directory / f"{asks_for}.pem")
        return context

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=20,
                       cwd=self.directory)


class Reply:
    """A response read to its end: status, fields as a list, body, and what came before it."""

    def __init__(self, status, fields, body=b"", trailers=(), interim=()):
        self.status, self.fields, self.body = status, fields, body
        self.trailers, self.interim = list(trailers), list(interim)

    def field(self, name):
        """The first value of a field, or None."""
        return next((v for n, v in self.fields if n.lower() == name.lower()), None)


class Wire:
    """A connection, and the reading of messages from it. `send` takes bytes as they are."""

    def __init__(self, connection, seconds=10.0):
        self.socket = connection
        self.socket.settimeout(seconds)
        self.buffer = b""
        self.raw = b""  # everything that was received

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        """Receives more; EOFError at the end of the stream."""
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data
        self.raw += data

    def take(self, count):
        while len(self.buffer) < count:
            self.fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def head(self):
        """(first line, fields)"""
        first = self.line().decode("latin-1")
        return first, self.fields()

    def fields(self):
        fields = []
        while line := self.line():
            name, value = line.split(b":", 1)
            fields.append((name.decode("latin-1"), value.strip().decode("latin-1")))
        return fields

    def chunks(self):
        """The decoded body, and its trailers."""
        body = b""
        while size := int(self.line().split(b";")[0], 16):
            body += self.take(size)
            assert self.line() == b""
        return body, self.fields()

    def rest(self):
        try:
            while True:
                self.fill()
        except (EOFError, ConnectionError):
            pass
        data, self.buffer = self.buffer, b""
        return data

    def body(self, fields, nothing=False):
        """The body of a message with these fields, as RFC 9112 §6.3 cuts it."""
        values = {name.lower(): value for name, value in fields}
        if nothing:
            return b"", []
        if values.get("transfer-encoding", "").lower() == "chunked":
            return self.chunks()
        if "content-length" in values:
            return self.take(int(values["content-length"])), []
        return None, []

    def reply(self, method="GET"):
        interim = []
        while True:
            first, fields = self.head()
            status = int(first.split()[1])
            if status >= 200 or status == 101:
                break
            interim.append(Reply(status, fields))
        nothing = method == "HEAD" or status in (101, 204, 304)
        body, trailers = self.body(fields, nothing)
        return Reply(status, fields, self.rest() if body is None else body, trailers, interim)

    def ask(self, target="/", method="GET", fields=(), body=None, host="shop.test"):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in fields]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))
        return self.reply(method)


class Handshake:
    """What a server knows after a TLS handshake."""

    def __init__(self, connection):
        self.version, self.resumed = connection.version(), connection.session_reused
        self.certificate = connection.getpeercert()  # of the client; None or {} without


class Request:
    """What an origin received."""

    def __init__(self, method, target, fields, body, trailers):
        self.method, self.target, self.fields = method, target, fields
        self.body, self.trailers = body, trailers

    def field(self, name):
        return next((v for n, v in self.fields if n.lower() == name.lower()), None)


class Origin:
    """An HTTP/1.1 server with a thread for each connection. It answers by `handlers`, by path, or with
    its name; everything it received stays in `requests`, and in `wires` byte by byte.
    """

    def __init__(self, name, port=0):
        self.name = name
        self.handlers = {}
        self.requests, self.wires = [], []
        self.mode = "serve"  # or "hang" (accepts, never answers) or "503"
        self.proxy_headers = None  # a list: connections begin with a PROXY v2 header, kept here
        self.tls = None  # an ssl.SSLContext: connections go on with TLS
        self.handshakes = []  # of those
        self._lock = threading.Lock()
        self._listener = None
        self._open = set()
        self.port = port
        self.start()

    def start(self):
        self._listener = socket.create_server((_HOST, self.port), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self):
        """Refuses connections and breaks those that are open."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            still, self._open = self._open, set()
        for connection in still:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def count(self, target):
        with self._lock:
            return sum(1 for request in self.requests if request.target == target)

    def last(self, target):
        with self._lock:
            return next(r for r in reversed(self.requests) if r.target == target)

    def connections(self):
        """How many are open."""
        with self._lock:
            return len(self._open)

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain = connection
        try:
            if self.proxy_headers is not None:
                start = _exactly(connection, 16)
                self.proxy_headers.append(
                    start + _exactly(connection, int.from_bytes(start[14:16], "big")))
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self.handshakes.append(Handshake(connection))
            wire = Wire(connection, 60.0)
            with self._lock:
                self.wires.append(wire)
            while True:
                self._one(wire)
        except (EOFError, OSError, ValueError, AssertionError):
            pass
        finally:
            with self._lock:
                self._open.discard(plain)
            connection.close()

    def _one(self, wire):
        first, fields = wire.head()
        method, target, _ = first.split(" ")
        if any(name.lower() == "expect" for name, _ in fields):
            wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, trailers = wire.body(fields)
        request = Request(method, target, fields, body or b"", trailers)
        with self._lock:
            self.requests.append(request)
        if self.mode == "hang":
            threading.Event().wait(60)
        if self.mode == "503":
            return self.answer(wire, request, 503, b"down\n")
        handler = self.handlers.get(target.split("?")[0])
        if handler is not None:
            return handler(wire, request)
        return self.answer(wire, request, 200, f"{self.name} {target}\n".encode())

    @staticmethod
    def answer(wire, request, status=200, body=b"", fields=()):
        lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Other'}",
                 *[f"{name}: {value}" for name, value in fields], f"Content-Length: {len(body)}"]
        data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        wire.send(data + (b"" if request.method == "HEAD" else body))


_CONFIG = """version: 1
name: shop
state_dir: {run}/state
sites:
  gcp: {{ role: primary, address: 127.0.0.1 }}
  aws: {{ role: standby, address: 127.0.0.2 }}
  witness: {{ role: witness, address: 127.0.0.3 }}
access: {{ agent_token: "file:{run}/agent.token", operator_token: "file:{run}/operator.token" }}
control: {{ store: sqlite, site: witness, listen: "127.0.0.3:{control}" }}
agent: {{ port: {agent} }}
databases:
  orders:
    engine: mariadb
    admin: {{ user: leeward, password: "file:{run}/agent.token" }}
    replication: {{ user: replica, password: "file:{run}/agent.token" }}
    gateway: {{ listen: "127.0.0.1:3307", peer_port: 3308 }}
    sites: {{ gcp: {{ address: "127.0.0.1:3306" }}, aws: {{ address: "127.0.0.2:3306" }} }}
dns:
  zone: shop.test
  contact: hostmaster@shop.test
  nameservers: [ns1.shop.test]
  records: [{{ name: ns1, type: A, values: [127.0.0.1] }}]
probes: {{ port: {probe}, path: /healthz }}
edge:
  admin_port: {admin}
"""


class Edge:
    """`leeward edge` of a site. `section` is the rest of the configuration's edge section; `prefix`, if
    any, is a command that runs it. Edges of two sites find each other with the same `admin` port, and
    commands find both.
    """

    def __init__(self, directory, section, prefix=(), site="gcp", admin=None):
        self.directory, self._prefix, self._site = pathlib.Path(directory), prefix, site
        self.admin, control, agent, probe = free_ports(4)
        self.admin = admin or self.admin
        self._head = _CONFIG.format(run=self.directory, admin=self.admin, control=control,
                                    agent=agent, probe=probe)
        for name in ("agent.token", "operator.token"):
            path = self.directory / name
            path.write_text(f"{name}-of-the-edge-test\n")
            path.chmod(0o600)
        self.write(section)
        self.log = self.directory / "edge.log"
        self._process = None

    def write(self, section):
        """The configuration anew; in force at the next start or reload()."""
        (self.directory / "leeward.yaml").write_text(
            self._head + "".join(f"  {line}\n" for line in section.strip().splitlines()))

    def __enter__(self):
        started = self.told("edge serves") if self.log.exists() else 0
        self._process = self._spawn()
        self.wait_for("edge serves", count=started + 1)
        return self

    def _spawn(self, *arguments):
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [*self._prefix, str(layout.binary()), "edge", "--config",
                 str(self.directory / "leeward.yaml"), "--site", self._site, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def take_over(self):
        """A successor takes the place of the edge that serves; the exit status of that one, or, when the
        successor could not serve, None."""
        started = self.told("edge serves")
        before, self._process = self._process, self._spawn("--takeover")
        try:
            self.wait_for("edge serves", count=started + 1)
        except AssertionError:
            self._process.wait(timeout=10)
            self._process = before
            return None
        return before.wait(timeout=20)

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(timeout=10)

    @property
    def process_id(self):
        return self._process.pid

    def wait_for(self, text, seconds=20.0, count=1):
        """Waits until the log has `text` so many times."""
        deadline = time.monotonic() + seconds
        while self.log.read_text(errors="replace").count(text) < count:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no '{text}' in the log:\n{self.log.read_text()}")
            time.sleep(0.02)

    def told(self, text):
        """How often the log has `text` so far."""
        return self.log.read_text(errors="replace").count(text)

    def reload(self):
        before = self.log.read_text(errors="replace").count("reloaded")
        self._process.send_signal(signal.SIGHUP)
        self.wait_for("reloaded", count=before + 1)

    def signal_reload(self):
        """SIGHUP, without waiting for what comes of it."""
        self._process.send_signal(signal.SIGHUP)

    def access_lines(self, wanted, seconds=20.0):
        """The access log's entries for which wanted(entry) is true, once there is one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for path in (self.directory / "state").rglob("access.log"):
                whole = path.read_text().rpartition("\n")[0]
                found = [e for e in map(json.loads, whole.splitlines()) if wanted(e)]
                if found:
                    return found
            time.sleep(0.02)
        raise AssertionError("no such line in the access log")

    def terminate(self):
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds=20.0):
        """The exit status."""
        return self._process.wait(timeout=seconds)

    def cli(self, *arguments, seconds=20.0):
        """Runs `leeward ARGUMENTS`; CompletedProcess with text."""
        return subprocess.run([str(layout.binary()), *arguments, "--config",
                               str(self.directory / "leeward.yaml")], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=seconds,
                              env={**os.environ, "COLUMNS": "100"})

    def metrics(self):
        with connect(self.admin) as wire:
            return wire.ask("/metrics").body.decode()

    def metric(self, line_start):
        """The value of the one metric line that begins like this."""
        lines = [x for x in self.metrics().splitlines() if x.startswith(line_start)]
        assert len(lines) == 1, lines
        return float(lines[0].rsplit(" ", 1)[1])

    def get_json(self, path):
        token = (self.directory / "operator.token").read_text().strip()
        with connect(self.admin) as wire:
            reply = wire.ask(path, fields=[("Authorization", f"Bearer {token}")])
        assert reply.status == 200, reply.body
        return json.loads(reply.body)


def certify(directory, name, host):
    """A self-signed certificate for `host` as NAME.pem and NAME.key."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={host}",
                    "-addext", f"subjectAltName=DNS:{host}",
                    "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem"],
                   check=True, capture_output=True, timeout=20)


class OneOrigin:
    """An edge with one listener in front of one origin: `edge` (to be started), `port`, `origin`."""

    def __init__(self, directory, route="", more=""):
        self.origin = Origin("a")
        self.port, = free_ports(1)
        self.edge = Edge(directory, f"""
listeners: [{{ address: 127.0.0.1, port: {self.port} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{self.origin.port}"] }} }}
routes: [{{ origins: web{route} }}]
threads: 1
{more}
""")


def connect(port, seconds=10.0):
    connection = socket.create_connection((_HOST, port), timeout=seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Wire(connection, seconds)
