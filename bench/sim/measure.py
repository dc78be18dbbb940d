"""The simulator's benchmark; run.sh says what it measures."""

import pathlib
import re
import resource
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True
import rig  # noqa: E402

YARDSTICK = "x = 0\nfor i in range(5_000_000): x = (x * 33 + i) & 0xffffffff"


def timed(argv):
    """Runs argv on the server core: its output, CPU seconds and seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=600, check=False,
                          preexec_fn=rig.pinned(rig.SERVER_CORE))
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{argv[0]} ended with status {done.returncode}:\n{done.stdout}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return done.stdout, cpu, seconds


def one_round(seeds):
    yardstick = timed([sys.executable, "-c", YARDSTICK])[1]
    text, cpu, wall = timed([rig.binary("leeward-sim"), "--threads", "1", "--seeds", str(seeds)])
    worlds, events = map(int, re.search(r"(\d+) worlds in .*?: (\d+) events", text).groups())
    return {"worlds": worlds, "events": events, "cpu_seconds": cpu, "seconds": wall,
            "yardstick_seconds": yardstick, "worlds_per_second": worlds / wall,
            "worlds_per_cpu_second": worlds / cpu, "events_per_cpu_second": events / cpu,
            "worlds_per_yardstick": worlds * yardstick / cpu}


def main():
    seeds = rig.environment_number("SEEDS", 1000)
    runs = [one_round(seeds) for _ in range(rig.rounds())]
    rows, results = [["figure", "median (min - max)"]], {}
    for key, digits in (("worlds_per_second", 0), ("worlds_per_cpu_second", 0),
                        ("events_per_cpu_second", 0), ("yardstick_seconds", 2),
                        ("worlds_per_yardstick", 1)):
        results[key] = rig.spread(run[key] for run in runs)
        rows.append([key.replace("_", " "), rig.show(results[key], digits)])
    rows.append(["events per world", f"{runs[0]['events'] / runs[0]['worlds']:.0f}"])
    share = rig.spread(run["cpu_seconds"] / run["seconds"] for run in runs)["median"]
    rows.append(["share of the core that it got", f"{100 * share:.0f} %"])
    rig.table(rows)
    rig.write_json("sim", {"results": results, "runs": runs})


if __name__ == "__main__":
    main()
