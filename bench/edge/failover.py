"""Origins that can be lost, an open loop of clients, and what they saw."""

import asyncio
import pathlib
import signal
import subprocess
import sys
import time

RATE_POST = 10       # every tenth request
LOST_AT, BACK_AT, ENDS_AT = 3.0, 9.0, 14.0
SLOW_SECONDS = 0.5
GIVE_UP_SECONDS = 10.0
LOSSES = ("refused", "hung", "503")


class Origin:
    """This file as an HTTP server of its own process; says its name in X-Origin."""

    def __init__(self, port, name, folder):
        self.port, self.name = port, name
        self._mode = pathlib.Path(folder) / f"mode-{name}"
        self.start()

    def start(self):
        self._mode.write_text("ok")
        self._process = subprocess.Popen([sys.executable, __file__, str(self.port), self.name,
                                          str(self._mode)])

    def lose(self, how):
        if how == "refused":
            self.stop()
        elif how == "hung":
            self._process.send_signal(signal.SIGSTOP)
        else:
            self._mode.write_text("503")

    def restore(self, how):
        if how == "refused":
            self.start()
        elif how == "hung":
            self._process.send_signal(signal.SIGCONT)
        else:
            self._mode.write_text("ok")

    def stop(self):
        self._process.kill()
        self._process.wait(10)


async def _answer(reader, writer, name, mode):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line[15:]) for line in head.split(b"\r\n")
                           if line.lower().startswith(b"content-length:")), 0)
            if length:
                await reader.readexactly(length)
            status = b"503 Service Unavailable" if mode() == "503" else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\r\nCache-Control: no-store\r\nX-Origin: " + name
                         + b"\r\nContent-Length: 3\r\n\r\nok\n")
            await writer.drain()
            if b"\r\nconnection: close" in head.lower():
                return  # Varnish's probes wait for that
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _serve(port, name, mode_file):
    read = {"at": 0.0, "mode": "ok"}

    def mode():
        if time.monotonic() - read["at"] > 0.01:
            read.update(at=time.monotonic(), mode=pathlib.Path(mode_file).read_text().strip())
        return read["mode"]

    server = await asyncio.start_server(
        lambda r, w: _answer(r, w, name.encode(), mode), "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


async def _ask(port, number, began, seen):
    method = "POST" if number % RATE_POST == RATE_POST - 1 else "GET"
    body = b"a=1" if method == "POST" else b""
    sent, status, origin = time.monotonic(), 0, ""
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{method} /x?n={number} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
                         f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            data = await reader.read()
            writer.close()
            status = int(data.split(b" ", 2)[1]) if data.startswith(b"HTTP/") else 0
            origin = next((line[9:].strip().decode() for line in data.split(b"\r\n")
                           if line.lower().startswith(b"x-origin:")), "")
    except (OSError, TimeoutError, ValueError, IndexError):
        pass
    seen.append((sent - began, method, status, time.monotonic() - sent, origin))


async def _load(port, rate):
    began, seen, running = time.monotonic(), [], set()
    for number in range(int(rate * ENDS_AT)):
        late = began + number / rate - time.monotonic()
        if late > 0:
            await asyncio.sleep(late)
        task = asyncio.create_task(_ask(port, number, began, seen))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return seen


def run(port, rate, origin, how):
    """The load on `port` while `origin` is lost; what was seen, as a dictionary."""
    async def both():
        load = asyncio.create_task(_load(port, rate))
        await asyncio.sleep(LOST_AT)
        origin.lose(how)
        await asyncio.sleep(BACK_AT - LOST_AT)
        origin.restore(how)
        return await load

    seen = asyncio.run(both())
    gets = [s for s in seen if s[1] == "GET"]
    back = min((s[0] for s in seen if s[4] == origin.name and s[2] == 200 and s[0] > BACK_AT),
               default=None)
    return {"get": len(gets), "get_lost": sum(s[2] != 200 for s in gets),
            "post_lost": sum(s[2] != 200 for s in seen if s[1] == "POST"),
            "get_slow": sum(s[3] > SLOW_SECONDS for s in gets if LOST_AT <= s[0] < BACK_AT),
            "get_max_seconds": max(s[3] for s in gets),
            "failback_seconds": None if back is None else back - BACK_AT}


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
