"""The result of a storm: a table for people, report.json for programs."""

import json

from stormlib import measure

# Key, what a person reads, unit. The order is that of the table.
_ROWS = (
    ("detection_seconds", "time until the failure was certain", "s"),
    ("rto_seconds", "time without a single order (RTO)", "s"),
    ("pinned_rto_seconds", "  the same, of customers with the old address", "s"),
    ("rpo_seconds", "writes behind at the failure (RPO)", "s"),
    ("orders_acknowledged", "orders acknowledged to customers", ""),
    ("orders_on_survivor", "  of these on the surviving database", ""),
    ("orders_in_ledger", "  of these in the ledger of lost writes", ""),
    ("orders_lost", "  of these lost without a trace", ""),
    ("writers_overlap_seconds", "time with two writers", "s"),
    ("switchback_failed_requests", "requests that failed in the switch back", ""),
    ("switchback_max_stall_seconds", "longest wait in the switch back", "s"),
    ("standby_programs", "processes of the shop at the standby before", ""),
    ("pages_sooner_percent", "the catalogue through the edge: sooner by", "%"),
)


class Report:
    """Collects values; what was never set is reported as not applicable."""

    def __init__(self, scenario, compute="instances"):
        self.scenario, self.compute = scenario, compute
        self.values = {}
        self.detail = {}
        self._complaints = []
        self._limits = dict(measure.LIMITS)
        self._limit_notes = {}

    def limit(self, key, value, why):
        """Another limit than the usual one, for a scenario in which that one does not apply."""
        self._limits[key] = value
        self._limit_notes[key] = why

    def set(self, key, number, note=""):
        self.values[key] = measure.Value(number, note)

    def not_applicable(self, why, *keys):
        for key in keys:
            self.set(key, None, why)

    def complain(self, sentence):
        """A broken promise that is no number with a limit."""
        self._complaints.append(sentence)

    def broken(self):
        return measure.broken(self.values, self._limits) + self._complaints

    @property
    def ok(self):
        return not self.broken()

    def table(self):
        """The report as lines of text."""
        lines = []
        for key, label, unit in _ROWS:
            value = self.values.get(key, measure.Value(None, "not measured"))
            if value.number is None:
                shown = "n/a"
            elif isinstance(value.number, float):
                shown = f"{value.number:.2f} {unit}".rstrip()
            else:
                shown = f"{value.number:,} {unit}".rstrip()
            limit = self._limits.get(key)
            bound = "" if limit is None or value.number is None else f"limit {limit:g} {unit}".rstrip()
            remarks = [text for text in (bound, value.note, self._limit_notes.get(key)) if text]
            lines.append(f"  {label:<42} {shown:>10}   {'; '.join(remarks)}".rstrip())
        return lines

    def write(self, path):
        document = {key: self.values[key].number if key in self.values else None
                    for key, _, _ in _ROWS}
        notes = {key: value.note for key, value in self.values.items() if value.note}
        notes |= self._limit_notes
        document |= {"scenario": self.scenario, "compute": self.compute, "ok": self.ok, "broken": self.broken(),
                     "notes": notes, "detail": self.detail}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n")
