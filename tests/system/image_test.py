"""Tiers that run from OCI images, made by umoci, under real agents behind their edges: they live in the image's
files and not in the machine's, and a new image is a new revision. No request is lost.
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile

import pytest

import tiers_rig as rig
from stormlib import layout, platform as platforms

pytestmark = pytest.mark.skipif(not os.access(layout.binary(), os.X_OK),
                                reason="leeward is not built")

UNHEALTHY = 4
PORT = 8220
TIERS = {"imaged": (PORT, "instances: 2\n    deploy: { max_surge: 1, max_unavailable: 0, ready_within: 5s, watch: 1s }")}
PROCESS = """image: {revision}
    env: {{ ADDRESS: "{{address}}", PORT: "{{port}}", MODE: {mode} }}"""

SERVE = """#!/bin/sh
[ "$MODE" = crashes ] && exit 3
exec httpd -f -p "$ADDRESS:$PORT" -h /www
"""
# What the process says of where it lives, as the answer to a request.
LOOK = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "root=$(ls / | tr '\\n' ' ')"
echo "id=$(id -u):$(id -g)"
echo "processes=$(ls -d /proc/[0-9]* | grep -c .)"
echo "os=$(cat /etc/os-release 2>/dev/null)"
echo "image_variable=$IMAGE_VARIABLE"
echo "machine_variable=$HOME:$LEEWARD_TEST_VARIABLE"
(echo x >/www/x) 2>/dev/null && echo "wrote=root"
echo x >/tmp/x && echo "wrote=tmp"
"""


def umoci(*arguments):
    subprocess.run(["umoci", *map(str, arguments)], check=True, capture_output=True, text=True)


def make_image(directory, name, text):
    """A layout `name` below `directory` whose application answers `text`; with busybox, in two layers."""
    path = directory / name
    shutil.rmtree(path, ignore_errors=True)
    bundle = directory / "bundle"
    image = f"{path}:latest"
    umoci("init", "--layout", path)
    umoci("new", "--image", image)
    umoci("unpack", "--image", image, bundle)
    root = bundle / "rootfs"
    for folder in ("bin", "www/imaged", "www/cgi-bin", "etc"):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in ("sh", "httpd", "ls", "cat", "id", "grep", "tr"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nshop:x:7001:7002::/www:/bin/sh\n")
    umoci("repack", "--refresh-bundle", "--image", image, bundle)
    (root / "www/healthz").write_text("ok")
    (root / "www/imaged/page").write_text(text)
    for file, content in (("serve", SERVE), ("www/cgi-bin/look", LOOK)):
        (root / file).write_text(content)
        (root / file).chmod(0o755)
    umoci("repack", "--image", image, bundle)
    umoci("config", "--image", image, "--config.entrypoint", "/serve", "--config.user", "shop",
          "--config.env", "IMAGE_VARIABLE=set", "--config.env", "PATH=/bin")
    shutil.rmtree(bundle)
    return path


def archive(path):
    """The layout as the tar archive of it, in its place."""
    with tarfile.open(f"{path}.tar", "w") as tar:
        for child in sorted(path.iterdir()):
            tar.add(child, child.name)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def world():
    with platforms.Platform(layout.REPOSITORY / "build/tests/image") as platform:
        directory = pathlib.Path(platform.layout.directory)
        make_image(directory, "one", "one")
        world = rig.World(platform, TIERS, PROCESS)
        os.environ["LEEWARD_TEST_VARIABLE"] = "of the agent"
        for site in layout.SITES:
            platform.start(site)
        platform.create_shop()
        platform.wait_ready(writer="gcp")
        rig.wait_for(lambda: world.get("imaged") == (200, "one"), 60, "the image through the edge")
        yield world
        del os.environ["LEEWARD_TEST_VARIABLE"]


def look(world, instance, site="gcp"):
    """What the instance says of itself."""
    connection = http.client.HTTPConnection(world.platform.layout.addresses[site], PORT + instance, timeout=10)
    connection.request("GET", "/cgi-bin/look")
    response = connection.getresponse()
    assert response.status == 200
    return dict(line.split("=", 1) for line in response.read().decode().splitlines())


def stored(world, site="gcp"):
    """Digests of the images that an agent has unpacked."""
    state = pathlib.Path(world.platform.layout.directory) / "state" / site / "agent/images"
    return {entry.name for entry in state.iterdir()}


def test_two_instances_live_in_the_image_and_not_in_the_machine(world):
    assert len(world.tier("imaged")["instances"]) == 2
    for instance in (0, 1):
        said = look(world, instance)
        assert said["root"].split() == ["bin", "dev", "etc", "proc", "run", "serve", "sys", "tmp", "www"]
        assert said["id"] == "7001:7002"
        assert said["os"] == ""
        assert int(said["processes"]) < 10
        assert said["image_variable"] == "set"
        assert said["machine_variable"] == "/www:"
        assert said["wrote"] == "tmp"
    assert not os.path.exists("/tmp/x")
    assert len(stored(world)) == 1, "unpacked once"


def test_another_image_is_a_new_revision_and_no_request_is_lost(world):
    directory = pathlib.Path(world.platform.layout.directory)
    archive(make_image(directory, "two", "two"))
    world.change("imaged", "two.tar:latest")
    rig.deploy_under_load(world, "imaged")
    images = [r["image"] for r in world.tier("imaged")["revisions"]]
    assert images == ["one", "two.tar:latest"]


def test_a_rollback_needs_no_file_but_what_is_unpacked(world):
    directory = pathlib.Path(world.platform.layout.directory)
    shutil.rmtree(directory / "one")
    back = world.platform.cli("deploy", "rollback", "imaged", "--site", "gcp")
    assert back.returncode == 0, back.stderr
    rig.wait_for(lambda: world.get("imaged") == (200, "one"), 30, "the image before")
    make_image(directory, "one", "one")


def test_the_same_name_with_other_content_is_a_new_revision(world):
    directory = pathlib.Path(world.platform.layout.directory)
    make_image(directory, "one", "three")
    world.change("imaged", "one")
    done, sites = world.deploy("imaged", "--site", "gcp")
    assert done.returncode == 0, done.stderr
    assert sites[0]["outcome"] == "deployed"
    rig.wait_for(lambda: world.get("imaged") == (200, "three"), 30, "what is under the name now")
    # What no revision names any more goes.
    rig.wait_for(lambda: stored(world) == {r["image_digest"] for r in world.tier("imaged")["revisions"]}, 30,
                 "unused images are removed")


def test_an_image_that_is_damaged_changes_nothing_and_says_why(world):
    directory = pathlib.Path(world.platform.layout.directory)
    before, kept = world.tier("imaged"), stored(world)
    broken = make_image(directory, "broken", "broken")
    largest = max((broken / "blobs/sha256").iterdir(), key=lambda blob: blob.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    world.change("imaged", "broken")
    with rig.Load(world, "imaged") as load:
        load.wait_answers(20)
        done, sites = world.deploy("imaged")
        load.wait_answers(20)
    assert done.returncode == UNHEALTHY, done.stderr
    assert [(s["site"], s["outcome"]) for s in sites] == [("gcp", "rolled_back")]
    assert f"layer sha256:{largest.name}" in sites[0]["reason"], sites
    assert load.failed() == [] and load.revisions() == {"three"}
    after = world.tier("imaged")
    assert after["current"] == before["current"] and after["failed"] == sites[0]["revision"]
    assert stored(world) == kept, "nothing of it is left"
    world.change("imaged", "nowhere")
    done, _ = world.deploy("imaged")
    assert done.returncode != 0 and "there is no such file or directory" in done.stderr


def test_an_image_that_crashes_is_rolled_back(world):
    before = world.tier("imaged")["current"]
    world.change("imaged", "one", "crashes")
    done, sites = world.deploy("imaged", "--site", "gcp")
    assert done.returncode == UNHEALTHY, done.stderr
    assert "exited by themselves 3 times" in sites[0]["reason"]
    assert world.tier("imaged")["current"] == before


def test_an_agent_that_is_killed_takes_its_instances_along_and_starts_them_again(world):
    world.change("imaged", "one")
    done, _ = world.deploy("imaged", "--site", "gcp")
    assert done.returncode == 0, done.stderr
    world.platform.signal_role("gcp", "agent", signal.SIGKILL)
    rig.wait_for(lambda: world.platform.cli("deploy", "status", "--site", "gcp").returncode == 0, 30,
                 "the agent is back")
    rig.wait_for(lambda: world.get("imaged") == (200, "three"), 30, "the instances are back")
    assert len(world.tier("imaged")["instances"]) == 2
    events = json.loads(world.platform.cli("events", "-o", "json", check=True).stdout)["events"]
    assert [e for e in events if e["kind"] == "deploy.rolled_back" and "layer sha256:" in e["message"]]
