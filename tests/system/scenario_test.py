"""Every scenario of the storm, on a real platform: three sites, two MariaDB, two Redis, the shop."""

import pytest

from stormlib import layout, namespaces, scenarios
from stormlib.storm import Storm

OPTIONS = {"control-loss": {"seconds": 20.0}}


@pytest.mark.parametrize("name", scenarios.ALL)
def test_every_promise_holds_in(name):
    if name == "partition" and not namespaces.usable():
        pytest.skip("a partition needs root")
    directory = layout.REPOSITORY / "build/tests" / name
    with Storm(name, directory) as storm:
        scenarios.run(storm, name, **OPTIONS.get(name, {}))
    storm.report.write(directory / "report.json")
    print("\n".join(storm.report.table()))
    assert storm.report.broken() == []
