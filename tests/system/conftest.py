"""System tests share their machinery with the demo."""

import pathlib
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "demo"))
sys.path.insert(0, str(REPOSITORY / "demo/shop"))
