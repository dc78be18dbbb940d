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
