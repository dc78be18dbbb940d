"""What a modest load on the edge feels of requests that are dear to inspect; run.sh says how it is measured."""

import pathlib
import socket

import attack
import candidates
import waf
import waf_attackers

ATTACKERS = pathlib.Path(waf_attackers.__file__)
SECTION = attack.SECTION + """firewall: {{ rules_file: {run}/rules.conf, mode: block, workers: 1 }}
"""


def waf_attack(run, seconds, rounds):
    (run / "rules.conf").write_text(waf.RULES + waf.BODY_RULES)
    names = attack.chosen(list(waf_attackers.ATTACKS))
    measured = {name: ([], [], {}) for name in names}
    memory = []
    silent = socket.create_server(("127.0.0.1", 0))
    with candidates.responder(run, attack.rig.CLIENT_CORE) as origin, silent:
        for _ in range(rounds):
            with attack.Edge(run, origin.port, silent.getsockname()[1], section=SECTION) as edge:
                attack.in_turn(edge, names, seconds, measured, ATTACKERS)
                memory.append(edge.resident_bytes())
    print(f"the edge's memory after all of it: {max(memory) / (1 << 20):.0f} MB")
    return attack.table(measured) | {"resident_bytes": memory}
