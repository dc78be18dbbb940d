"""gRPC through a real edge: a real server and client, over plain HTTP/2 and over TLS, and what a raw
HTTP/2 origin does to requests (GOAWAY, refused streams, resets, closed windows)."""

import os
import socket
import struct
import threading
import time
from concurrent import futures

import pytest

import edge_rig as rig
from h2_wire import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, PREFACE, RST_STREAM,
                     SETTINGS, WINDOW_UPDATE, block, frame, get)

grpc = pytest.importorskip("grpc")
pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

SECTION = """
listeners:
  - {{ address: 127.0.0.1, port: {plain} }}
  - {{ address: 127.0.0.1, port: {tls}, tls: true }}
certificates: [{{ chain: edge.pem, key: edge.key }}]
origins:
  plain: {{ servers: ["127.0.0.1:{grpc}"], protocol: http2 }}
  tls:
    servers: ["127.0.0.1:{grpc_tls}"]
    protocol: http2
    tls: {{ ca: ca.pem, name: origin.test }}
  checked:
    servers: ["127.0.0.1:{checked}"]
    protocol: http2
    check: {{ path: /ready, interval: 100ms, timeout: 2s }}
  asked:
    servers: ["127.0.0.1:{grpc}"]
    protocol: http2
    check: {{ grpc: true, grpc_service: t.Shop, interval: 100ms, timeout: 2s }}
  raw: {{ servers: ["127.0.0.1:{raw}"], protocol: http2, ejection: 10ms, ejection_max: 10ms }}
  told: {{ servers: ["127.0.0.1:{told}"], protocol: http2, proxy_protocol: true }}
  nobody: {{ servers: ["127.0.0.1:{nobody}"], protocol: http2 }}
  h1: {{ servers: ["127.0.0.1:{h1}"], protocol: http2 }}
routes:
  - {{ origins: plain }}
  - {{ host: tls.test, origins: tls }}
  - {{ host: raw.test, origins: raw }}
  - {{ host: told.test, origins: told }}
  - {{ host: nobody.test, origins: nobody }}
  - {{ host: h1.test, origins: h1 }}
timeouts: {{ body: 1s, connect: 2s }}
threads: 1
"""


class Service(grpc.GenericRpcHandler):
    """Methods on bytes. What becomes of calls stays in `cancelled`; `gate` holds some of them."""

    def __init__(self):
        self.cancelled = threading.Event()
        self.gate = threading.Event()
        self.sent = 0
        self.serving = 1  # what Check answers for t.Shop; None: it knows no such service

    def service(self, details):
        name = details.method.rpartition("/")[2]
        made = {"Unary": grpc.unary_unary_rpc_method_handler(self.unary),
                "Check": grpc.unary_unary_rpc_method_handler(self.check),
                "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
                "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
                "Down": grpc.unary_stream_rpc_method_handler(self.down),
                "Flood": grpc.unary_stream_rpc_method_handler(self.flood),
                "Up": grpc.stream_unary_rpc_method_handler(self.up),
                "Both": grpc.stream_stream_rpc_method_handler(self.both)}
        return made.get(name)

    def unary(self, request, context):
        metadata = dict(context.invocation_metadata())
        context.send_initial_metadata([("x-head", metadata.get("x-mine", ""))])
        context.set_trailing_metadata([("x-tail", "sum"), ("x-bytes-bin", b"\0\xff")])
        return request[::-1]

    def check(self, request, context):
        """grpc.health.v1.Health/Check, by its bytes."""
        assert request == b"\x0a\x06t.Shop"
        if self.serving is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return b"\x08" + bytes([self.serving])

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not \u00fcberall")

    def wait(self, request, context):
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(20)
        return b""

    def down(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number

    def flood(self, request, context):
        for number in range(int(request)):
            self.sent = number + 1
            yield b"x" * 65536

    def up(self, requests, context):
        return b"%d" % sum(len(r) for r in requests)

    def both(self, requests, context):
        for request in requests:
            yield b"re:" + request


class World:
    def __init__(self, directory):
        ca = rig.Authority(directory)
        ca.issue("edge", "DNS:tls.test,DNS:nobody.test")
        ca.issue("origin", "DNS:origin.test")
        self.ca = (directory / "ca.pem").read_bytes()
        self.service = Service()
        self.server = grpc.server(futures.ThreadPoolExecutor(32))
        self.server.add_generic_rpc_handlers((self.service,))
        self.grpc = self.server.add_insecure_port("127.0.0.1:0")
        self.grpc_tls = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
            [((directory / "origin.key").read_bytes(), (directory / "origin.pem").read_bytes())]))
        self.server.start()
        self.raw, self.checked, self.told = RawOrigin(), RawOrigin(), RawOrigin(proxied=True)
        self.h1 = rig.Origin("h1")
        self.plain, self.tls, nobody = rig.free_ports(3)
        self.edge = rig.Edge(directory, SECTION.format(
            plain=self.plain, tls=self.tls, grpc=self.grpc, grpc_tls=self.grpc_tls,
            raw=self.raw.port, checked=self.checked.port, told=self.told.port, nobody=nobody, h1=self.h1.port))

    def channel(self, secure=False, host="shop.test"):
        options = [("grpc.default_authority", host), ("grpc.enable_retries", 0)]
        if not secure:
            return grpc.insecure_channel(f"127.0.0.1:{self.plain}", options)
        options.append(("grpc.ssl_target_name_override", host))
        return grpc.secure_channel(f"127.0.0.1:{self.tls}",
                                   grpc.ssl_channel_credentials(self.ca), options)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("grpc"))
    with w.edge:
        yield w
    w.server.stop(None)


@pytest.fixture(params=["plain", "tls"])
def channel(world, request):
    """Plain to a plain server, or TLS to a TLS server."""
    secure = request.param == "tls"
    with world.channel(secure, "tls.test" if secure else "shop.test") as made:
        yield made


# ---------------------------------------------------------------- the four kinds of calls

def test_unary_calls_with_metadata_both_ways(channel):
    call = channel.unary_unary("/t.T/Unary")
    reply, done = call.with_call(b"abc", metadata=[("x-mine", "yes")], timeout=10)
    assert reply == b"cba" and dict(done.initial_metadata())["x-head"] == "yes"
    tail = dict(done.trailing_metadata())
    assert tail["x-tail"] == "sum" and tail["x-bytes-bin"] == b"\0\xff"
    big = os.urandom(3_000_000)
    assert call(big, timeout=20) == big[::-1]


def test_errors_pass_as_they_are(channel):
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/t.T/Fail")(b"", timeout=10)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert error.value.details() == "not \u00fcberall"
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/t.T/None")(b"", timeout=10)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_streams_in_either_direction(channel):
    down = channel.unary_stream("/t.T/Down")(b"500", timeout=20)
    assert [int(x) for x in down] == list(range(500))
    up = channel.stream_unary("/t.T/Up")((b"x" * 10_000 for _ in range(200)), timeout=20)
    assert up == b"2000000"


def test_both_sides_talk_at_once_and_may_fall_silent(channel):
    """Each answer comes before the next question is sent; a pause is longer than timeouts.body."""
    questions, answers = [threading.Event() for _ in range(4)], []

    def ask():
        for number, event in enumerate(questions):
            assert event.wait(20)
            yield b"%d" % number

    questions[0].set()
    for number, answer in enumerate(channel.stream_stream("/t.T/Both")(ask(), timeout=30)):
        answers.append(answer)
        if number == 1:
            time.sleep(2.2)
        if number + 1 < len(questions):
            questions[number + 1].set()
    assert answers == [b"re:0", b"re:1", b"re:2", b"re:3"]


# ---------------------------------------------------------------- ends that are none

@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_call_that_its_client_gives_up_ends_at_the_server(world, channel, how):
    world.service.cancelled.clear()
    future = channel.unary_unary("/t.T/Wait").future(b"", timeout=0.5 if how == "deadline" else 20)
    if how == "cancel":
        time.sleep(0.3)  # so that the server has begun
        future.cancel()
    assert world.service.cancelled.wait(10)


def test_a_client_that_reads_slowly_holds_the_server_up(world, channel):
    world.service.sent = 0
    stream = channel.unary_stream("/t.T/Flood")(b"600", timeout=60)
    for _ in range(3):
        next(stream)
    deadline, sent = time.monotonic() + 20, -1
    while world.service.sent != sent:  # until it stands still
        assert time.monotonic() < deadline
        sent = world.service.sent
        time.sleep(0.5)
    assert sent < 500  # the rest of 38 MiB is nowhere yet
    assert 3 + sum(len(x) == 65536 for x in stream) == 600


@pytest.mark.parametrize("secure", [False, True])
def test_what_the_edge_itself_fails_is_unavailable(world, secure):
    """The edge's own 502 is text/plain; a gRPC client maps the HTTP status."""
    with world.channel(secure, "nobody.test") as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary("/t.T/Unary")(b"x", timeout=10)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE and "502" in error.value.details()


def test_many_calls_share_few_connections(world):
    before = world.edge.metric('leeward_edge_origin_connects_total{group="plain"')
    with world.channel() as channel:
        calls = [channel.unary_unary("/t.T/Unary").future(b"%d" % n, timeout=30)
                 for n in range(400)]
        assert [c.result() for c in calls] == [str(n).encode()[::-1] for n in range(400)]
    after = world.edge.metric('leeward_edge_origin_connects_total{group="plain"')
    assert after - before <= 5


def test_an_http1_client_is_served_by_an_http2_origin(world):
    def reply(connection, stream, number):
        connection.answer(stream, b"page", [("x-one", "1")], trailers=[("x-sum", "4"),
                                                                     ("set-cookie", "a=1")])

    world.raw.behave(reply)
    with rig.connect(world.plain) as wire:
        answer = wire.ask("/page", host="raw.test")
        assert (answer.status, answer.body, answer.field("x-one")) == (200, b"page", "1")
        assert answer.trailers == [("x-sum", "4")]
        wire.send(b"POST /up HTTP/1.1\r\nHost: raw.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Up: 1\r\n\r\n")
        assert wire.reply().status == 200
        assert world.raw.bodies[-1] == b"abcde"
        assert wire.ask("/", "HEAD", host="raw.test").body == b""
    with rig.connect(world.plain) as wire:  # not HTTP/2: the log says so
        assert wire.ask("/", host="h1.test").status == 502
    said = world.edge.log.read_text()  # a reset may overtake the origin's answer to the preface
    assert "it does not speak HTTP/2" in said or "before its HTTP/2 SETTINGS came" in said


# ---------------------------------------------------------------- raw origins

class RawConnection:
    """An origin's side of one HTTP/2 connection."""

    def __init__(self, origin, connection):
        self.origin, self.wire = origin, rig.Wire(connection, 60.0)
        self.began = 0  # requests on this connection
        self.windows = threading.Condition()
        self.window = {0: 65535}

    def send(self, *frames):
        self.wire.send(b"".join(frames))

    def answer(self, stream, body=b"", fields=(), trailers=(), status="200"):
        self.send(frame(HEADERS, END_HEADERS, stream, block([(":status", status), *fields])),
                  frame(DATA, 0 if trailers else END_STREAM, stream, body))
        if trailers:
            self.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block(trailers)))

    def serve(self):
        assert self.wire.take(len(PREFACE)) == PREFACE
        self.send(frame(SETTINGS, 0, 0, self.origin.settings))
        bodies = {}
        while True:
            head = self.wire.take(9)
            kind, flags, stream = head[3], head[4], struct.unpack("!I", head[5:])[0]
            payload = self.wire.take(int.from_bytes(head[:3], "big"))
            if kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK))
            if kind == RST_STREAM:
                self.origin.resets.append((stream, struct.unpack("!I", payload)[0]))
            if kind == GOAWAY:
                self.origin.goaways += 1
            if kind == DATA:
                bodies[stream] = bodies.get(stream, b"") + payload
                self.origin.received += len(payload)
                if self.origin.opens_windows and payload:
                    size = struct.pack("!I", len(payload))
                    self.send(frame(WINDOW_UPDATE, 0, 0, size), frame(WINDOW_UPDATE, 0, stream, size))
            if kind == HEADERS and stream not in bodies:
                bodies[stream] = b""
                self.began += 1
                self.origin.streams.append(stream)
                if self.origin.at_once:
                    self.origin.handler(self, stream, self.began)
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                self.origin.bodies.append(bodies[stream])
                if not self.origin.at_once:
                    self.origin.handler(self, stream, self.began)


class RawOrigin:
    """Speaks HTTP/2 frame by frame. `handler(connection, stream, number of the request on it)`."""

    def __init__(self, proxied=False):
        self.proxied, self.headers = proxied, []
        self.behave(lambda connection, stream, _: connection.answer(stream, b"ok"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def behave(self, handler, settings=b"", at_once=False, opens_windows=True):
        """From now on; new connections get these SETTINGS. `at_once`: before the request's body."""
        self.handler, self.settings, self.at_once = handler, settings, at_once
        self.opens_windows = opens_windows
        self.bodies, self.resets, self.streams = [], [], []
        self.connections = self.goaways = self.received = 0

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.proxied:
                start = rig._exactly(connection, 16)
                self.headers.append(
                    start + rig._exactly(connection, int.from_bytes(start[14:16], "big")))
            RawConnection(self, connection).serve()
        except (EOFError, OSError, AssertionError):
            pass
        finally:
            connection.close()


@pytest.fixture
def raw(world):
    """The raw origin with no connection open: what comes is seen from its beginning."""
    world.raw.behave(lambda connection, _, __: connection.send(
        frame(GOAWAY, 0, 0, struct.pack("!II", 0, 0))) or connection.wire.socket.close())
    with rig.connect(world.plain) as wire:
        wire.ask("/", host="raw.test")
    time.sleep(0.1)
    return world.raw


def post(world, body=b"hello", host="raw.test"):
    with rig.connect(world.plain) as wire:
        return wire.ask("/", "POST", body=body, host=host)


def test_a_goaway_sends_what_was_not_begun_elsewhere(world, raw):
    """A POST above the last stream of a GOAWAY was not begun: it is sent again, on a new connection."""
    def handler(connection, stream, number):
        if raw.connections == 1 and number == 2:
            connection.send(frame(GOAWAY, 0, 0, struct.pack("!II", stream - 2, 0)))
        else:
            connection.answer(stream, b"ok")

    raw.behave(handler)
    assert [post(world).status for _ in range(4)] == [200] * 4
    assert raw.connections == 2 and raw.bodies == [b"hello"] * 5


def test_a_goaway_lets_what_is_under_way_end(world, raw):
    gate = threading.Event()

    def handler(connection, stream, number):
        if raw.connections == 1:
            connection.send(frame(GOAWAY, 0, 0, struct.pack("!II", 2**31 - 1, 0)))
            threading.Thread(target=lambda: gate.wait(10) and connection.answer(stream, b"late"),
                             daemon=True).start()
        else:
            connection.answer(stream, b"ok")

    raw.behave(handler)
    replies = []
    first = threading.Thread(target=lambda: replies.append(post(world).body))
    first.start()
    deadline = time.monotonic() + 5
    while not raw.streams:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    assert post(world).body == b"ok" and raw.connections == 2
    gate.set()
    first.join(10)
    assert replies == [b"late"]


def test_a_refused_stream_is_sent_again(world, raw):
    def handler(connection, stream, _):
        if len(raw.streams) == 1:
            connection.send(frame(RST_STREAM, 0, stream, struct.pack("!I", 7)))  # REFUSED_STREAM
        else:
            connection.answer(stream, b"ok")

    raw.behave(handler)
    assert post(world).body == b"ok" and len(raw.streams) == 2


def test_what_is_too_large_to_be_kept_is_not_sent_again(world, raw):
    """The beginning of a large body is forgotten once it was sent: a refusal then is the end of it."""
    raw.behave(lambda connection, stream, _: connection.send(
        frame(RST_STREAM, 0, stream, struct.pack("!I", 7))))
    assert post(world, b"x" * 400_000).status == 502 and len(raw.streams) == 1
    raw.behave(lambda connection, stream, _: connection.answer(stream, b"ok"))
    assert post(world).status == 200


def test_any_other_reset_of_a_post_is_not(world, raw):
    raw.behave(lambda connection, stream, _: connection.send(
        frame(RST_STREAM, 0, stream, struct.pack("!I", 2))))  # INTERNAL_ERROR
    assert post(world).status == 502 and len(raw.streams) == 1


def test_no_more_streams_than_the_origin_allows(world, raw):
    """SETTINGS_MAX_CONCURRENT_STREAMS is 2: five requests at once need three connections. What is
    sent before the edge knows is refused, and goes to another connection."""
    gate, open_, lock = threading.Event(), {}, threading.Lock()

    def handler(connection, stream, _):
        with lock:
            open_[connection] = open_.get(connection, 0) + 1
            if open_[connection] > 2:
                open_[connection] -= 1
                return connection.send(frame(RST_STREAM, 0, stream, struct.pack("!I", 7)))
        def later():
            gate.wait(10)
            connection.answer(stream, b"ok")
        return threading.Thread(target=later, daemon=True).start()

    raw.behave(handler, settings=struct.pack("!HI", 3, 2))
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(post(world).status))
               for _ in range(5)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while sum(open_.values()) < 5:
        assert time.monotonic() < deadline, open_
        time.sleep(0.01)
    gate.set()
    for thread in threads:
        thread.join(10)
    assert replies == [200] * 5 and max(open_.values()) == 2


def test_resets_pass_both_ways(world, raw):
    """The origin resets a response under way: so does the edge. The client resets a request: so does
    the edge, and the connection goes on."""
    def breaks(connection, stream, _):
        connection.send(frame(HEADERS, END_HEADERS, stream, block([(":status", "200")])),
                        frame(DATA, 0, stream, b"half"),
                        frame(RST_STREAM, 0, stream, struct.pack("!I", 2)))

    raw.behave(breaks)
    with H2(world.plain) as client:
        client.request(get_of("raw.test"))
        assert client.end() == ("reset", 2)
    raw.behave(lambda *_: None)
    with H2(world.plain) as client:
        stream = client.request(get_of("raw.test"))
        deadline = time.monotonic() + 5
        while not raw.streams:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        client.send(frame(RST_STREAM, 0, stream, struct.pack("!I", 8)))
        while not raw.resets:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert raw.resets == [(raw.streams[0], 8)]  # CANCEL
        raw.behave(lambda connection, stream, _: connection.answer(stream, b"ok"))
        assert client.response(client.request(get_of("raw.test")))[1] == b"ok"
        assert raw.connections == 0


def get_of(host):
    return [(n, host if n == ":authority" else v) for n, v in get()]


def test_an_origin_that_takes_no_body_holds_the_client_up(world, raw):
    """The origin's window is closed: after what the edge buffers, nothing more is taken."""
    raw.behave(lambda *_: None, opens_windows=False)
    with rig.connect(world.plain) as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: raw.test\r\nContent-Length: 60000000\r\n\r\n")
        wire.socket.settimeout(1.0)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 50_000_000:
                sent += wire.socket.send(b"x" * 65536)
    assert sent < 20_000_000 and raw.received == 65535


def test_checks_speak_http2(world):
    world.edge.wait_for(f"target=127.0.0.1:{world.checked.port} health=up")
    world.checked.behave(lambda connection, stream, _: connection.answer(stream, status="503"))
    world.edge.wait_for(f"target=127.0.0.1:{world.checked.port} health=down")


def test_checks_ask_by_grpcs_health_protocol(world):
    target = f"target=127.0.0.1:{world.grpc}"
    world.edge.wait_for(f"{target} health=up")
    for serving, why in ((2, "NOT_SERVING"), (None, "grpc-status 5")):
        before = world.edge.told(f"{target} health=up")
        world.service.serving = serving
        world.edge.wait_for(why)
        world.service.serving = 1
        world.edge.wait_for(f"{target} health=up", count=before + 1)


def test_the_proxy_header_makes_a_connection_one_clients(world):
    assert post(world, host="told.test").status == post(world, host="told.test").status == 200
    assert world.told.connections == 2 and len(world.told.headers) == 2
    assert world.told.streams == [1, 1]
