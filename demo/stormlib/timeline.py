"""What happens, as it happens, on a terminal: one line an event, with the seconds since the fault."""

import os
import sys
import threading
import time

_GLYPHS = {
    "fault": ("✖", "X", "31;1"),
    "client": ("☺", "c", "36"),
    "step": ("▸", ">", "1"),
    "probe": ("○", "o", "33"),
    "verdict": ("◉", "!", "33"),
    "plan": ("▸", ">", "34"),
    "lease": ("◆", "*", "35"),
    "site": ("■", "#", "31"),
    "database": ("↑", "^", "32"),
    "writer": ("●", "@", "32;1"),
    "traffic": ("→", "-", "32"),
    "rejoin": ("↻", "~", "36"),
    "ledger": ("▤", "L", "33"),
    "good": ("✔", "+", "32;1"),
    "bad": ("✘", "!", "31;1"),
}
_OTHER = ("·", ".", "2")


class Timeline:
    """Prints to `stream`; thread-safe. Seconds count from mark(), or from the start before it."""

    def __init__(self, stream=sys.stdout):
        self._stream = stream
        self._lock = threading.Lock()
        self._zero = time.monotonic()
        self._colour = stream.isatty() and "NO_COLOR" not in os.environ
        self._unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"

    def mark(self, at):
        """Makes `at` the zero of the times that follow."""
        with self._lock:
            self._zero = at

    def line(self, kind, text, at=None, site=""):
        """One event of `kind` ("fault", "client" … or an event kind such as "plan.step")."""
        at = time.monotonic() if at is None else at
        unicode_glyph, ascii_glyph, style = _GLYPHS.get(kind.partition(".")[0], _OTHER)
        glyph = unicode_glyph if self._unicode else ascii_glyph
        with self._lock:
            clock = f"{at - self._zero:+8.2f} s"
            where = f"{site:<8}"
            if self._colour:
                clock, where = f"\x1b[2m{clock}\x1b[0m", f"\x1b[1m{where}\x1b[0m"
                glyph = f"\x1b[{style}m{glyph}\x1b[0m"
            self._stream.write(f"{clock}  {glyph}  {where} {text}\n")
            self._stream.flush()

    def event(self, event):
        """An entry of Leeward's audit trail."""
        epoch = f"  (epoch {event['epoch']})" if event.get("epoch") else ""
        self.line(event["kind"], event["message"] + epoch, event["at"], event.get("site", ""))

    def heading(self, text):
        with self._lock:
            bold, plain = ("\x1b[1m", "\x1b[0m") if self._colour else ("", "")
            self._stream.write(f"\n{bold}{text}{plain}\n")
            self._stream.flush()
