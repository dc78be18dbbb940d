#!/usr/bin/python3
"""The storm: brings the shop up on two clouds on this machine, breaks one, and measures what customers
saw. Exit status 0 only if every promise held. Everything it starts is gone when it ends.

As root the sites are network namespaces; otherwise addresses on loopback (no partitions then).
"""

import argparse
import os
import pathlib
import signal
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from stormlib import layout as layouts, scenarios  # noqa: E402
from stormlib.control_api import ApiError  # noqa: E402
from stormlib.platform import CLIENT, PlatformError  # noqa: E402
from stormlib.storm import Storm  # noqa: E402

_BUILD = layouts.REPOSITORY / "build/demo"


def _arguments():
    names = "\n".join(f"  {name:<16} {function.__doc__.splitlines()[0]}"
                      for name, function in scenarios.ALL.items())
    parser = argparse.ArgumentParser(
        prog="dev demo", description=__doc__, epilog=f"scenarios:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=scenarios.ALL, default="site-kill", metavar="NAME",
                        help="what is broken (default: site-kill)")
    parser.add_argument("--network", choices=("auto", "namespaces", "loopback"), default="auto",
                        help="how the sites are kept apart (default: auto)")
    parser.add_argument("--compute", choices=("instances", "functions", "functions-first"),
                        default="instances",
                        help="what the standby serves by: its own processes, functions that start with "
                             "the first request, or these until instances are ready (default: "
                             "instances)")
    parser.add_argument("--rounds", type=int, default=1,
                        help="role-kill-loop: how often each process is killed (default: 1)")
    parser.add_argument("--seconds", type=float, default=60.0,
                        help="control-loss: how long the control plane is away (default: 60)")
    parser.add_argument("--keep", action="store_true",
                        help="leave the platform running afterwards, until Ctrl-C")
    return parser.parse_args()


def _explain_how_to_visit(platform):
    where = ""
    if platform.net:
        where = f"nsenter --net=/run/netns/{platform.net.name(CLIENT)} "
    edge = platform.layout.addresses["gcp"]
    print(f"\nThe platform stays up until Ctrl-C.\n"
          f"  {where}curl http://{edge}:{layouts.EDGE_PORT}/\n"
          f"  {where}dig +short @{edge} -p {platform.layout.dns_port} {layouts.SERVICE}\n"
          f"  {where}{layouts.binary()} status --config {platform.layout.config}\n"
          f"  {where}{layouts.binary()} edge top --config {platform.layout.config}", flush=True)


def main():
    arguments = _arguments()
    # Ctrl-C and SIGTERM take the same way out as the end of the scenario.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    storm = Storm(arguments.scenario, _BUILD / "run", arguments.network,
                  compute=arguments.compute)
    try:
        with storm:
            scenarios.run(storm, arguments.scenario, rounds=arguments.rounds,
                          seconds=arguments.seconds)
            report = _BUILD / "report.json"
            storm.report.write(report)
            storm.timeline.heading(f"Report: {arguments.scenario}")
            print("\n".join(storm.report.table()))
            for sentence in storm.report.broken():
                storm.say("bad", sentence)
            if storm.report.ok:
                storm.say("good", f"every promise held; numbers in {os.path.relpath(report)}")
            if arguments.keep:
                _explain_how_to_visit(storm.platform)
                threading.Event().wait()
    except (PlatformError, ApiError) as error:
        print(f"\nthe storm could not go on: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; everything that was started is ended", file=sys.stderr)
        return 0 if arguments.keep and storm.report.values and storm.report.ok else 130
    return 0 if storm.report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
