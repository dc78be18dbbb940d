#!/usr/bin/python3
"""Lag of the stream driver while the primary takes all the writes that it can.

  lag.py [SECONDS]     default 30

sysbench's oltp_write_only with 4 threads at full speed, durable settings at both ends, all on this
machine. The lag is the age of the newest heartbeat applied (one every 250 ms, so up to that much of
it is the heartbeat's), read every 100 ms. Needs sysbench.
"""

import sys
import time

import sysbench
from sysbench import lab


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    sysbench.need("sysbench", "mariadbd")
    with lab.Lab() as here:
        source = here.server(1, lab.DURABLE + sysbench.BUFFERS)
        sysbench.prepare(source)
        target = source.copy(2)
        stream = here.replicator(source, target, "lag", "include=sb")
        stream.start(f"begin={source.position()}")
        stream.drain()
        time.sleep(2)
        skip = stream.log.stat().st_size
        before = sysbench.sequence(source.position())
        sysbench.load(source, "run", "--threads=4", f"--time={seconds}", "--events=0")
        with open(stream.log, "rb") as log:
            log.seek(skip)
            lines = [line for line in log.read().decode().split("\n")[1:-1]
                     if line.startswith("state=")]
        writes = sysbench.sequence(source.position()) - before
        lags = sorted(int(dict(pair.split("=", 1) for pair in line.split("\t"))["lag_ms"])
                      for line in lines)
        stream.drain()
        print(f"{writes / seconds:.0f} tx/s at the primary; lag over {len(lags)} samples: p50 "
              f"{lags[len(lags) // 2]} ms, p99 {lags[len(lags) * 99 // 100]} ms, max {lags[-1]} ms")
        different = lab.equal_tables(source, target, sysbench.tables())
        print("checksums equal" if not different else different)


if __name__ == "__main__":
    main()
