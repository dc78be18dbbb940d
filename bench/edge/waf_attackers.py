"""Requests that are dear to inspect, one after the other on a few connections: `waf_attackers.py NAME PORT
SECONDS`, on loopback only. Prints how many there were and with which status each was answered, as JSON.
waf_attack.py starts this beside a load.
"""

import asyncio
import collections
import json
import sys
import time
import zlib

from attackers import HOST

CONNECTIONS = 8
PAUSE_SECONDS = 0.005     # between two requests of a connection
DEEP = 100_000
BOUNDARY = "b0undary"
FORM = "application/x-www-form-urlencoded"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def post(kind, body, more=""):
    return (f"POST /miss/1k.bin HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n"
            f"Content-Type: {kind}\r\n{more}Content-Length: {len(body)}\r\n\r\n").encode() + body


def get(target="/miss/1k.bin", more=""):
    return (f"GET {target} HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n"
            f"{more}\r\n").encode()


def parts(count):
    part = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"%d\"\r\n\r\n1\r\n"
    return ("".join(part % number for number in range(count)) + f"--{BOUNDARY}--\r\n").encode()


def packed(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(b"a" * size) + packer.flush()


# What makes backtracking expressions try again from every place: the beginning of an attack, repeated,
# whose end never comes.
NEARLY = {"selects": b"select+", "quotes": b"'", "brackets": b"%28", "handlers": b"%3Ca+on", "dots": b"..%2f"}

ATTACKS = {
    "deep JSON": lambda: post("application/json", b"[" * DEEP + b"]" * DEEP),
    "deep objects": lambda: post("application/json", b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "deep XML": lambda: post("text/xml", b"<a>" * DEEP + b"</a>" * DEEP),
    "100,000 parameters": lambda: post(FORM, b"&".join(b"p%d=1" % n for n in range(100_000))),
    "many parts": lambda: post(MULTIPART, parts(10_000)),
    "packed body": lambda: post(FORM, packed(200 << 20), "Content-Encoding: gzip\r\n"),
    "large fields": lambda: get(more="".join(f"X-{n}: {'(a' * 500}\r\n" for n in range(14))),
    "long query": lambda: get("/miss/1k.bin?q=" + "'or+" * 1500),
    **{f"a megabyte of {name}": lambda piece=piece: post(FORM, b"q=" + piece * ((1_000_000 - 2) // len(piece)))
       for name, piece in NEARLY.items()},
}


async def one(port, request, until, statuses):
    """A connection, as long as the edge keeps it."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=1 << 20)
    try:
        while time.monotonic() < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            statuses[head[9:12].decode()] += 1
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line[15:]))
            if b"connection: close" in head.lower():
                return
            await writer.drain()
            await asyncio.sleep(PAUSE_SECONDS)
    except (OSError, asyncio.IncompleteReadError):
        statuses["closed"] += 1
    finally:
        writer.transport.abort()


async def run(name, port, seconds):
    request, statuses = ATTACKS[name](), collections.Counter()
    until = time.monotonic() + seconds

    async def attacker():
        while time.monotonic() < until:
            try:
                await asyncio.wait_for(one(port, request, until, statuses), until - time.monotonic() + 10)
            except asyncio.TimeoutError:  # an OSError too
                statuses["not answered"] += 1
            except OSError:
                statuses["not accepted"] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    await asyncio.gather(*[attacker() for _ in range(CONNECTIONS)])
    return {"made": sum(statuses.values()), "ended": dict(statuses)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
