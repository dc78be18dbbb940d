"""The test that guards the house rules is itself able to fail."""

import pathlib
import subprocess

import pytest

TIDY = pathlib.Path(__file__).resolve().parents[2] / "tools/tidy"


def tidy(root):
    done = subprocess.run([TIDY, root], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_clean_tree_passes(tmp_path):
    write(tmp_path, "src/model/a.h", '#include <vector>\n#include "base/error.h"\n#include "model/b.h"\n')
    assert tidy(tmp_path) == (0, "tidy: nothing to say\n")


@pytest.mark.parametrize("file, include, way", [
    ("src/model/a.h", "control/core.h", "upward"),
    ("src/dns/server.cc", "gateway/gateway.h", "sideways"),
    ("src/cli/internal/show.cc", "app/roles.h", "upward"),
    ("src/net/http.cc", "store/store.h", "sideways"),
])
def test_an_include_in_the_wrong_direction_is_found(tmp_path, file, include, way):
    write(tmp_path, file, f'#include "base/error.h"\n  #  include "{include}"\n')
    status, text = tidy(tmp_path)
    assert status == 1
    assert text.startswith(f"{file}:2: ") and f"includes {way}" in text


def test_a_room_without_a_floor_is_found(tmp_path):
    write(tmp_path, "src/attic/a.cc", "int a;\n")
    status, text = tidy(tmp_path)
    assert status == 1 and "src/attic/a.cc:1: room 'attic' is on no floor" in text


def test_a_file_of_more_than_800_lines_is_found(tmp_path):
    write(tmp_path, "src/base/a.cc", "int a;\n" * 800)
    assert tidy(tmp_path)[0] == 0
    write(tmp_path, "src/base/a.cc", "int a;\n" * 801)
    status, text = tidy(tmp_path)
    assert status == 1 and "src/base/a.cc:801: 801 lines" in text


@pytest.mark.parametrize("line", [
    "class ConnectionMan" + "ager {", "struct StringUt" + "il;", "TimeHel" + "per h;", "// TO" + "DO: later",
    "x = 1  # FIX" + "ME"])
def test_forbidden_words_are_found(tmp_path, line):
    write(tmp_path, "src/base/a.cc", f"int a;\n{line}\n")
    status, text = tidy(tmp_path)
    assert status == 1 and text.startswith("src/base/a.cc:2: ")


@pytest.mark.parametrize("line", ["// manages itself", "int utilisation;", "double Utilisation();"])
def test_ordinary_words_are_left_alone(tmp_path, line):
    write(tmp_path, "src/base/a.cc", f"{line}\n")
    assert tidy(tmp_path)[0] == 0


def test_this_repository_is_tidy():
    status, text = tidy(TIDY.parents[1])
    assert status == 0, text
