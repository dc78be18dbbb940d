"""A stream as a process of its own: killed at random under load, and fed with MariaDB's own scripts."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "replication"))
import iuds  # pylint: disable=wrong-import-position
import soak  # pylint: disable=wrong-import-position

SOAK_SECONDS = 25
# Dates, numbers and bits, text with character sets, and a definition behind SET STATEMENT.
SCRIPTS = ("delete_decimal", "delete_time", "strings_update_delete", "type_bit_iuds")


def test_what_was_committed_arrives_exactly_once_whatever_is_killed():
    assert soak.soak(SOAK_SECONDS, seed=20) == []


def test_tables_of_the_engines_suite_are_equal_at_the_target():
    scripts = [iuds.SUITE / f"{name}.test" for name in SCRIPTS]
    equal, different = iuds.compare(scripts)
    assert different == 0
    assert equal >= 25
