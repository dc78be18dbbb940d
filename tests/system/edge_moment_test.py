"""Things that happen at a bad moment: a limit in the middle of a buffer, a client that leaves, an origin that
stops, a reload, and a wait that is over already. Nobody else must notice.
"""

import base64
import hmac
import os
import socket
import threading
import time

import pytest

import edge_rig as rig

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def chunked(*parts):
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


# ---- a request's body

def test_a_body_above_the_limit_in_many_small_chunks_is_refused_and_nobody_else_notices(tmp_path):
    world = rig.OneOrigin(tmp_path, more="limits: { request_body_bytes_max: 1000 }")
    with world.edge, rig.connect(world.port) as wire:
        wire.send(b"POST /up HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                  + chunked(*[b"x" * 100] * 50))
        assert wire.reply("POST").status == 413
        with rig.connect(world.port) as other:
            assert other.ask("/other").status == 200


def test_an_origin_that_does_not_read_the_body_is_given_up(tmp_path):
    world = rig.OneOrigin(tmp_path, more="timeouts: { first_byte: 1s, body: 60s }")
    # Accepts, and reads nothing.
    world.origin.stop()
    with socket.create_server(("127.0.0.1", world.origin.port)) as deaf, world.edge:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with rig.connect(world.port, seconds=8) as wire:
            size = 20 << 20
            wire.send(b"POST /up HTTP/1.1\r\nHost: shop.test\r\nContent-Length: %d\r\n\r\n" % size)

            def upload():
                try:
                    wire.socket.sendall(bytes(size))
                except OSError:
                    pass

            threading.Thread(target=upload, daemon=True).start()
            assert wire.reply("POST").status == 504


def test_an_origin_has_its_time_from_the_end_of_a_slow_upload(tmp_path):
    world = rig.OneOrigin(tmp_path, more="timeouts: { first_byte: 2s, body: 60s }")

    def think(wire, request):
        time.sleep(1.5)
        world.origin.answer(wire, request, 200, b"stored")

    world.origin.handlers["/up"] = think
    with world.edge, rig.connect(world.port) as wire:
        wire.send(b"POST /up HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 36\r\n\r\n")
        for _ in range(36):  # 3.6 s
            wire.send(b"x")
            time.sleep(0.1)
        assert wire.reply("POST").status == 200


def test_a_request_with_a_body_never_stands_for_one_without(tmp_path):
    world = rig.OneOrigin(tmp_path, ", cache: all",
                          "cache_policies: { all: { ttl_default: 60s } }\ntimeouts: { body: 30s }")

    def echo(wire, request):
        world.origin.answer(wire, request, 200, b"for " + request.body,
                            [("Cache-Control", "max-age=60")])

    world.origin.handlers["/page"] = echo
    with world.edge:
        with rig.connect(world.port) as wire:
            assert wire.ask("/page", body=b"evil").body == b"for evil"
        with rig.connect(world.port) as wire:
            assert wire.ask("/page").body == b"for "
        # Who has not said all of his request holds up nobody.
        with rig.connect(world.port) as slow, rig.connect(world.port) as wire:
            slow.send(b"GET /other HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nhalf")
            time.sleep(0.2)
            began = time.monotonic()
            assert wire.ask("/other").status == 200
            assert time.monotonic() - began < 3


def test_a_large_body_is_not_sent_twice_when_the_origin_is_asked_again(tmp_path):
    world = rig.OneOrigin(tmp_path, ", cache: films",
                          "cache_policies: { films: { slice_bytes: 65536, ttl_default: 60s } }\n"
                          "limits: { replay_bytes: 1000 }")

    def out_of_range(wire, request):
        wire.send(b"HTTP/1.1 416 No\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\n\r\n")

    world.origin.handlers["/film"] = out_of_range
    with world.edge:
        for _ in range(3):
            with rig.connect(world.port) as wire:
                reply = wire.ask("/film", fields=[("Range", "bytes=999999999-")], body=b"x" * 50_000)
                assert reply.status == 416
        with rig.connect(world.port) as wire:
            assert wire.ask("/other").status == 200


# ---- clients that leave, or take their time

def test_the_access_log_tells_of_its_own_request_however_long_the_answer_took(tmp_path):
    world = rig.OneOrigin(tmp_path, ", cache: all",
                          "cache_policies: { all: { ttl_default: 60s } }\naccess_log: json")
    big = bytes(20 << 20)
    world.origin.handlers["/big"] = lambda wire, request: world.origin.answer(wire, request, 200, big)
    with world.edge:
        with rig.connect(world.port) as wire:
            assert len(wire.ask("/big", fields=[("User-Agent", "first")]).body) == len(big)
        with rig.connect(world.port) as slow:
            slow.send(b"GET /big HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: of-the-slow\r\n\r\n")
            slow.fill()
            for _ in range(20):
                with rig.connect(world.port) as other:
                    other.ask("/" + "z" * 200, fields=[("User-Agent", "y" * 200)])
            slow.reply()
        entry, = world.edge.access_lines(lambda e: e["target"] == "/big" and e["cache"] == "hit")
        assert entry["user_agent"] == "of-the-slow"


def test_a_client_that_leaves_in_the_middle_is_counted_and_logged(tmp_path):
    world = rig.OneOrigin(tmp_path, "", "access_log: json")

    def trickle(wire, request):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            wire.send(bytes(65536))

    world.origin.handlers["/long"] = trickle
    with world.edge:
        with rig.connect(world.port) as wire:
            wire.send(b"GET /long HTTP/1.1\r\nHost: shop.test\r\n\r\n")
            wire.fill()
        entry, = world.edge.access_lines(lambda e: e["target"] == "/long")
        assert entry["status"] == 200 and entry["bytes"] > 0


def test_an_object_that_is_too_large_does_not_wait_for_a_client_that_left(tmp_path):
    world = rig.OneOrigin(tmp_path, ", cache: all",
                          "cache_policies: { all: { ttl_default: 60s, object_bytes_max: 1000000 } }")
    stopped = threading.Event()

    def endless(wire, request):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                wire.send(chunked(bytes(65536)))
        finally:
            stopped.set()

    world.origin.handlers["/endless"] = endless
    with world.edge:
        with rig.connect(world.port) as wire:
            wire.send(b"GET /endless HTTP/1.1\r\nHost: shop.test\r\n\r\n")
            while len(wire.raw) < 2_000_000:
                wire.fill()
        assert stopped.wait(10), "the origin's connection is still open"


def test_a_wait_for_the_cache_that_is_over_does_not_ask_a_second_origin(tmp_path):
    origins = [rig.Origin("a"), rig.Origin("b")]
    port, = rig.free_ports(1)
    servers = ", ".join(f'"127.0.0.1:{origin.port}"' for origin in origins)
    edge = rig.Edge(tmp_path, f"""
listeners: [{{ address: 127.0.0.1, port: {port} }}]
origins: {{ web: {{ servers: [{servers}] }} }}
cache_policies: {{ all: {{}} }}
routes: [{{ origins: web, cache: all, hedge: false }}]
threads: 1
""")
    first = threading.Event()
    seen = []

    def slow(wire, request):
        seen.append(request)
        if len(seen) == 1:
            first.set()
            time.sleep(1)
        else:
            time.sleep(12)
        origins[0].answer(wire, request, 200, b"slow", [("Cache-Control", "private")])

    for origin in origins:
        origin.handlers["/slow"] = slow
    with edge, rig.connect(port, seconds=25) as leader, rig.connect(port, seconds=25) as waiter:
        leader.send(b"GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        assert first.wait(5)
        waiter.send(b"GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        assert leader.reply().status == 200
        assert waiter.reply().status == 200
        assert len(seen) == 2


def test_half_an_answer_does_not_look_whole_to_an_old_client(tmp_path):
    world = rig.OneOrigin(tmp_path)
    told = threading.Event()

    def half(wire, request):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        told.wait(5)
        wire.socket.shutdown(socket.SHUT_RDWR)

    def whole(wire, request):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n")

    world.origin.handlers.update({"/half": half, "/whole": whole})
    with world.edge:
        for path in ("/half", "/whole"):
            with socket.create_connection(("127.0.0.1", world.port), timeout=10) as s:
                s.sendall(f"GET {path} HTTP/1.0\r\nHost: shop.test\r\n\r\n".encode())
                got = b""
                while not got.endswith(b"half"):  # HTTP/1.0 knows no chunks: the body ends with the connection
                    got += s.recv(65536)
                told.set()
                if path == "/whole":
                    assert s.recv(65536) == b""
                else:
                    with pytest.raises(ConnectionResetError):
                        s.recv(65536)


# ---- what a trusted proxy says

def test_a_renewal_tells_the_origin_what_a_trusted_proxy_said(tmp_path):
    world = rig.OneOrigin(tmp_path, ", cache: all",
                          "cache_policies: { all: { stale_while_revalidate: 60s } }")
    section = (tmp_path / "leeward.yaml").read_text().replace(
        f"port: {world.port} }}", f"port: {world.port}, trusted: true }}")
    (tmp_path / "leeward.yaml").write_text(section)

    def to_https(wire, request):
        if request.field("X-Forwarded-Proto") == "https":
            return world.origin.answer(wire, request, 200, b"page", [("Cache-Control", "max-age=1")])
        return world.origin.answer(wire, request, 301, b"",
                                   [("Location", "https://shop.test/page"), ("Cache-Control", "max-age=60")])

    world.origin.handlers["/page"] = to_https
    over_tls = [("X-Forwarded-Proto", "https")]
    with world.edge, rig.connect(world.port) as wire:
        # One scheme's answer is not the other's.
        assert wire.ask("/page", fields=[("X-Forwarded-Proto", "http")]).status == 301
        assert wire.ask("/page", fields=over_tls).status == 200
        for _ in range(2):
            time.sleep(1.2)  # it is stale
            fetched = world.origin.count("/page")
            assert wire.ask("/page", fields=over_tls).status == 200
            wait_until(lambda: world.origin.count("/page") > fetched)
            assert world.origin.last("/page").field("X-Forwarded-Proto") == "https"


def test_the_client_is_who_a_trusted_proxy_has_seen(tmp_path):
    (tmp_path / "blocked").write_text("203.0.113.7\n2001:db8::7\n")
    world = rig.OneOrigin(tmp_path, more="firewall: { block_file: blocked }")
    plain, = rig.free_ports(1)
    section = (tmp_path / "leeward.yaml").read_text().replace(
        f"port: {world.port} }}", f"port: {world.port}, trusted: true }}, "
                                  f"{{ address: 127.0.0.1, port: {plain} }}")
    (tmp_path / "leeward.yaml").write_text(section)
    refused = ("203.0.113.7", "198.51.100.1, 203.0.113.7", "203.0.113.7:41000", "2001:db8::7", "[2001:db8::7]:41000")
    served = ("198.51.100.1", "203.0.113.7, 198.51.100.1", "203.0.113.7,", "203.0.113.7, unknown", "", "[203")
    with world.edge, rig.connect(world.port) as behind, rig.connect(plain) as direct:
        for told in refused:
            assert behind.ask("/page", fields=[("X-Forwarded-For", told)]).status == 403, told
        for told in served:
            assert behind.ask("/page", fields=[("X-Forwarded-For", told)]).status == 200, told
            assert world.origin.last("/page").field("X-Forwarded-For") == ", ".join(filter(None, (told, "127.0.0.1")))
        twice = [("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "203.0.113.7")]
        assert behind.ask("/page", fields=twice).status == 403
        assert behind.ask("/page", fields=twice[::-1]).status == 200
        assert world.origin.last("/page").field("X-Forwarded-For") == "203.0.113.7, 198.51.100.1, 127.0.0.1"
        # Another edge tells it by its own field: between us and the client may be more than one proxy.
        proxies = ("X-Forwarded-For", "203.0.113.7, 198.51.100.2")
        for wire in (behind, direct):
            assert wire.ask("/page", fields=[proxies, hop("203.0.113.7")]).status == 403
            secure = ("X-Forwarded-Proto", "https")
            assert wire.ask("/page", fields=[proxies, secure, hop("198.51.100.1")]).status == 200
            assert world.origin.last("/page").field("Leeward-Edge-Hop") is None
            assert world.origin.last("/page").field("X-Forwarded-Proto") == "https"
            assert world.origin.last("/page").field("X-Forwarded-For") == f"{proxies[1]}, 127.0.0.1"
        # A proxy lets it pass from anybody else too, who is not believed.
        invented = ("203.0.113.7", hop("203.0.113.7", token=b"a guess")[1], hop("203.0.113.7", later=-3600)[1],
                    hop("198.51.100.1")[1].replace("198.51.100.1", "203.0.113.7"))
        for told in invented:
            fields = [proxies, ("Leeward-Edge-Hop", told)]
            assert behind.ask("/page", fields=fields).status == 200, told
            assert world.origin.last("/page").field("X-Forwarded-For") == f"{proxies[1]}, 127.0.0.1"
            assert world.origin.last("/page").field("Leeward-Edge-Hop") is None
            assert direct.ask("/page", fields=fields).status == 200, told
            assert world.origin.last("/page").field("X-Forwarded-For") == "127.0.0.1"
        # Nor does it help who is blocked.
        blocked = [("X-Forwarded-For", "203.0.113.7"), ("Leeward-Edge-Hop", "198.51.100.1")]
        assert behind.ask("/page", fields=blocked).status == 403
        world.edge.reload()
        assert behind.ask("/page", fields=[proxies, hop("203.0.113.7")]).status == 403


def hop(client, token=b"agent.token-of-the-edge-test", later=0):
    """What an edge of the platform tells another of a client, as a field."""
    key = hmac.digest(token, b"leeward edge hop", "sha256")
    said = f"{client};{int(time.time()) + later}"
    mac = base64.urlsafe_b64encode(hmac.digest(key, said.encode(), "sha256")).decode().rstrip("=")
    return "Leeward-Edge-Hop", f"{said};{mac}"
