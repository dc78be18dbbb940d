"""`leeward validate` finds every mistake of a file at once and says where each is."""

import re
import subprocess

import pytest

from stormlib import layout

# Mistake: what is replaced, by what, and a word that the message must have.
MISTAKES = (
    ("interval: 1s,", "intervall: 1s,", "interval"),
    ("timeout: 800ms", "timeout: 800", "unit"),
    ("fall: 3", "fall: 0", "fall"),
    ("takeover: 4.5s", "takeover: 4s", "takeover"),
    ("role: standby", "role: stanby", "standby"),
    ("{ port: 7401 }", "{ port: 70000 }", "65535"),
    ("rise: 2", "rise: many", "many"),
    ("preferred: gcp", "preferred: azure", "azure"),
    ("contact: hostmaster@shop.test", "contact: hostmaster@shop.test\n  negative_ttl: 7s",
     "negative_ttl"),
    ("mode: automatic", "mode: sometimes", "sometimes"),
)


@pytest.fixture
def platform_file(tmp_path):
    """A correct leeward.yaml with its secrets."""
    where = layout.on_loopback(tmp_path / "run", "validate")
    layout.write(where)
    return where.config


def validate(path):
    return subprocess.run([layout.binary(), "validate", path], capture_output=True, text=True,
                          timeout=20)


def test_the_demo_file_is_valid(platform_file):
    done = validate(platform_file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ten_mistakes_are_ten_messages_with_their_places(platform_file):
    text = platform_file.read_text()
    for right, wrong, _ in MISTAKES:
        assert text.count(right) >= 1, right
        text = text.replace(right, wrong, 1)
    platform_file.write_text(text)
    done = validate(platform_file)
    output = done.stdout + done.stderr
    assert done.returncode == 2
    messages = re.findall(r"^\S*leeward\.yaml:(\d+):\d+: (.*)$", output, re.MULTILINE)
    lines = text.splitlines()
    for _, wrong, word in MISTAKES:
        last_line = wrong.splitlines()[-1].strip()
        number = next(i for i, line in enumerate(lines, 1) if last_line in line)
        assert any(int(at) == number and word in message for at, message in messages), \
            f"nothing about line {number} ({last_line}) with '{word}' in:\n{output}"


def test_a_missing_file_is_a_clear_error(tmp_path):
    done = validate(tmp_path / "none.yaml")
    assert done.returncode != 0 and "none.yaml" in done.stderr
