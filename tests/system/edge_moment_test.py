"""Things that happen at a bad moment: a limit in the middle of a buffer, a client that leaves, an origin that
stops, a reload, and a wait that is over already. Nobody else must notice.
"""

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
