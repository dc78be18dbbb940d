"""RFC 9113 at a real edge, section by section: one case a rule, each a few frames and what must come
of them. RFC 7541 is in edge_rfc7541_test.py.

A case never waits for luck: two PINGs go after its frames, one after the other. A PING's answer may
overtake what was caused before it, but not the next one's, so all is there when the second comes, or the
connection has ended. `goaway` also demands that it does end.
"""

import os
import struct

import pytest

import edge_rig as rig
from h2_wire import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR,
                     FRAME_SIZE_ERROR, GOAWAY, H2, HEADERS, NO_ERROR, PADDED, PING, PREFACE, PRIORITY,
                     PRIORITY_FLAG, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS,
                     STREAM_CLOSED, WHOLE, WINDOW_UPDATE, block, dependency, frame, get, request, rst_stream,
                     settings, window_update)

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

OPENING = PREFACE + frame(SETTINGS)
MARKS = b"mark one", b"mark two"
GREASE_FRAME, GREASE_SETTING, GREASE_ERROR = 0x0b + 0x1f * 3, 0x0a0a, 0xfe
WINDOW, WINDOW_MAX, FRAME_MAX, FRAME_LIMIT = 65_535, 2**31 - 1, 2**14, 2**24 - 1
POST = request(1, get("/body", "POST"), END_HEADERS)
BLOCK = block(get())


def data(payload=b"abc", stream=1, flags=END_STREAM):
    return frame(DATA, flags, stream, payload)


def post(*more):
    """The head of a request whose body is to follow."""
    return request(1, get("/body", "POST", more), END_HEADERS)


def answer_to(stream):
    """A step: waits until that stream's response is complete."""
    return stream


# ---- what must come of a case; each has a test of what was seen

class Seen:
    """What the edge said until the mark came back or the connection ended."""

    def __init__(self, h2):
        self.goaway, self.marked = None, False
        self.resets, self.heads, self.bodies, self.ended = {}, {}, {}, set()
        self.pongs, self.acks = [], 0
        self._h2 = h2

    def until(self, over):
        """Reads until over() or the connection's end."""
        for kind, flags, stream, payload in self._h2.frames():
            if kind == GOAWAY and self.goaway is None:
                self.goaway = struct.unpack("!I", payload[4:8])[0]
            elif kind == RST_STREAM:
                self.resets[stream] = struct.unpack("!I", payload)[0]
            elif kind == HEADERS:
                self.heads.setdefault(stream, payload)
            elif kind == DATA:
                self.bodies[stream] = self.bodies.get(stream, b"") + payload
            elif kind == PING and flags & ACK:
                self.marked = self.marked or payload == MARKS[-1]
                self.pongs.append(payload)
            elif kind == SETTINGS and flags & ACK:
                self.acks += 1
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                self.ended.add(stream)
            if over():
                return

    def complete(self, stream):
        return stream in self.ended or stream in self.resets or self.goaway is not None

    def __repr__(self):
        return f"goaway {self.goaway}, resets {self.resets}, heads {self.heads}"


def first_field(encoded):
    """The first octet behind changes of the table's size: 0x88 is HPACK's ":status 200", 0x8c 400."""
    at = 0
    while encoded[at] & 0xe0 == 0x20:
        long = encoded[at] & 0x1f == 0x1f
        at += 1
        while long:
            long = encoded[at] >= 0x80
            at += 1
    return encoded[at]


def goaway(*codes):
    """A connection error of one of these types (§5.4.1), and the connection's end."""
    def check(seen):
        assert seen.goaway in codes and not seen.marked, seen
    return check


def reset(*codes, stream=1):
    """A stream error (§5.4.2): the stream ends, the connection goes on."""
    def check(seen):
        assert seen.resets.get(stream) in codes and seen.goaway is None and seen.marked, seen
    return check


def either(code, stream=1):
    """A stream error, or the same as a connection error, which §5.4 leaves to the endpoint."""
    def check(seen):
        assert seen.goaway == code or (seen.resets.get(stream) == code and seen.marked), seen
    return check


def served(*streams):
    """Responses with status 200; nothing else happens."""
    def check(seen):
        assert seen.goaway is None and not seen.resets and seen.marked, seen
        for stream in streams or (1,):
            assert stream in seen.ended and first_field(seen.heads[stream]) == 0x88, seen
    check.streams = streams or (1,)
    return check


def refused():
    """Malformed (§8.1.1): a stream error, or a response that says so; never a connection error."""
    def check(seen):
        assert seen.goaway is None and seen.marked, seen
        if 1 not in seen.resets:
            assert 1 in seen.ended and first_field(seen.heads[1]) == 0x8c, seen
        else:
            assert seen.resets[1] == PROTOCOL_ERROR, seen
    check.streams = (1,)
    return check


def ignored(seen):
    """Nothing comes of it."""
    assert seen.goaway is None and not seen.resets and not seen.heads and seen.marked, seen


MALFORMED = reset(PROTOCOL_ERROR)
CONNECTION = {"connection": "close", "proxy-connection": "keep-alive", "keep-alive": "timeout=5",
              "transfer-encoding": "chunked", "upgrade": "websocket"}


def without(name, fields=None):
    return [field for field in fields or get() if field[0] != name]


def changed(name, value):
    return [(n, value if n == name else v) for n, v in get()]


# section and story: (steps, what must come of them). A step is frames, or a stream to wait for.
CASES = {
    # ---- connection preface
    "3.4 the preface and a request": ([request()], served()),
    "4.1 a frame of an unknown type": ([frame(GREASE_FRAME, 0xff, 0, b"x" * 8), request()], served()),
    "4.1 a frame of an unknown type on an idle stream":
        ([frame(GREASE_FRAME, 0, 1, b"x"), request()], served()),
    "4.1 flags that have no meaning": ([frame(PING, 0xfe, 0, b"12345678"), request()], served()),
    "4.1 the reserved bit is set": ([frame(PING, 0, 1 << 31, b"12345678"),
                                     frame(HEADERS, WHOLE, 1 << 31 | 1, BLOCK)], served()),
    "4.2 DATA of 16,384 octets": ([POST, data(b"x" * FRAME_MAX)], served()),
    "4.2 DATA that is too large": ([POST, data(b"x" * (FRAME_MAX + 1))], either(FRAME_SIZE_ERROR)),
    "4.2 HEADERS that are too large":
        ([frame(HEADERS, WHOLE, 1, BLOCK + block([("x-a", "y" * FRAME_MAX)]))],
         goaway(FRAME_SIZE_ERROR)),
    "4.2 SETTINGS that are too large":
        ([frame(SETTINGS, 0, 0, struct.pack("!HI", GREASE_SETTING, 1) * 2731)],
         goaway(FRAME_SIZE_ERROR)),
    "4.2 an unknown frame that is too large":
        ([frame(GREASE_FRAME, 0, 0, b"x" * (FRAME_MAX + 1))], goaway(FRAME_SIZE_ERROR)),
    "4.3 PRIORITY inside a field block":
        ([request(flags=END_STREAM), frame(PRIORITY, 0, 1, dependency(0))], goaway(PROTOCOL_ERROR)),
    "4.3 HEADERS of another stream inside a field block":
        ([request(flags=END_STREAM), request(3)], goaway(PROTOCOL_ERROR)),
    "4.3 HEADERS of the same stream inside a field block":
        ([request(flags=END_STREAM), request(1)], goaway(PROTOCOL_ERROR)),
    "4.3 DATA inside a field block": ([request(flags=0), data()], goaway(PROTOCOL_ERROR)),
    "4.3 PING inside a field block":
        ([request(flags=END_STREAM), frame(PING, 0, 0, b"12345678")], goaway(PROTOCOL_ERROR)),
    "4.3 SETTINGS inside a field block":
        ([request(flags=END_STREAM), frame(SETTINGS)], goaway(PROTOCOL_ERROR)),
    # ---- stream states
    "5.1 idle: DATA": ([data()], goaway(PROTOCOL_ERROR)),
    "5.1 idle: RST_STREAM": ([rst_stream(1)], goaway(PROTOCOL_ERROR)),
    "5.1 idle: WINDOW_UPDATE": ([window_update(1, 100)], goaway(PROTOCOL_ERROR)),
    "5.1 idle: CONTINUATION": ([frame(CONTINUATION, END_HEADERS, 1, BLOCK)], goaway(PROTOCOL_ERROR)),
    "5.1 idle: PRIORITY": ([frame(PRIORITY, 0, 1, dependency(0)), request()], served()),
    "5.1 idle: PRIORITY, then a lower stream":
        ([frame(PRIORITY, 0, 5, dependency(0)), request(3)], served(3)),
    "5.1 idle: one of the server's streams, DATA": ([data(stream=2)], goaway(PROTOCOL_ERROR)),
    "5.1 idle: one of the server's streams, WINDOW_UPDATE":
        ([window_update(2, 1)], goaway(PROTOCOL_ERROR)),
    "5.1 half-closed: DATA": ([request() + data()], either(STREAM_CLOSED)),
    "5.1 half-closed: HEADERS": ([request() + request()], either(STREAM_CLOSED)),
    "5.1 half-closed: CONTINUATION":
        ([request() + frame(CONTINUATION, END_HEADERS, 1, BLOCK)],
         goaway(STREAM_CLOSED, PROTOCOL_ERROR)),
    "5.1 half-closed: WINDOW_UPDATE": ([request() + window_update(1, 1)], served()),
    "5.1 half-closed: PRIORITY": ([request() + frame(PRIORITY, 0, 1, dependency(0))], served()),
    "5.1 half-closed: RST_STREAM": ([request() + rst_stream(1), request(3)],
                                    served(3)),
    "5.1 reset by the client: DATA": ([POST + rst_stream(1) + data()], either(STREAM_CLOSED)),
    "5.1 reset by the client: HEADERS":
        ([POST + rst_stream(1) + request()], either(STREAM_CLOSED)),
    "5.1 reset by the client: CONTINUATION":
        ([POST + rst_stream(1) + frame(CONTINUATION, END_HEADERS, 1, BLOCK)],
         goaway(STREAM_CLOSED, PROTOCOL_ERROR)),
    "5.1 reset by the client: WINDOW_UPDATE":
        ([POST + rst_stream(1) + window_update(1, 1), request(3)], served(3)),
    "5.1 reset by the client: PRIORITY":
        ([POST + rst_stream(1) + frame(PRIORITY, 0, 1, dependency(0)), request(3)],
         served(3)),
    "5.1 reset by the client: RST_STREAM":
        ([POST + rst_stream(1) + rst_stream(1), request(3)], served(3)),
    "5.1 closed: DATA": ([request(), answer_to(1), data()], goaway(STREAM_CLOSED)),
    "5.1 closed: HEADERS": ([request(), answer_to(1), request()], goaway(STREAM_CLOSED)),
    "5.1 closed: CONTINUATION":
        ([request(), answer_to(1), frame(CONTINUATION, END_HEADERS, 1, BLOCK)],
         goaway(STREAM_CLOSED, PROTOCOL_ERROR)),
    "5.1 closed: WINDOW_UPDATE": ([request(), answer_to(1), window_update(1, 1)], served()),
    "5.1 closed: RST_STREAM": ([request(), answer_to(1), rst_stream(1)], served()),
    "5.1 closed: PRIORITY":
        ([request(), answer_to(1), frame(PRIORITY, 0, 1, dependency(0))], served()),
    "5.1 reset by the edge: what was under way is ignored":
        ([post(("te", "gzip")), answer_to(1), data(b"x" * 1000, flags=0), window_update(1, 1),
          request(1, [("x-trailer", "1")])], MALFORMED),
    "5.1.1 an even stream": ([request(2)], goaway(PROTOCOL_ERROR)),
    "5.1.1 a lower stream, never used": ([request(5), answer_to(5), request(3)], goaway(PROTOCOL_ERROR)),
    "5.1.1 a lower stream, used": ([request(1), answer_to(1), request(5), answer_to(5), request(1)],
                                   goaway(STREAM_CLOSED)),
    "5.1.1 a lower stream, never used: DATA": ([request(5), answer_to(5), data(stream=3)], served(5)),
    "5.1.1 the highest stream": ([request(2**31 - 1)], served(2**31 - 1)),
    "5.2.2 streams share the connection's window": ([request(1), request(3)], served(1, 3)),
    # ---- priority is deprecated (§5.3.2), its frames are not
    "5.3 a stream that depends on itself, PRIORITY":
        ([frame(PRIORITY, 0, 1, dependency(1))], either(PROTOCOL_ERROR)),
    "5.3 a stream that depends on itself, HEADERS":
        ([frame(HEADERS, WHOLE | PRIORITY_FLAG, 1, dependency(1) + BLOCK)], either(PROTOCOL_ERROR)),
    "5.3 HEADERS with a priority":
        ([frame(HEADERS, WHOLE | PRIORITY_FLAG, 1, dependency(0, 255) + BLOCK)], served()),
    "5.3 an exclusive dependency": ([frame(HEADERS, WHOLE | PRIORITY_FLAG, 1,
                                           dependency(11, 0, exclusive=True) + BLOCK)], served()),
    "5.5 an unknown setting": ([settings((GREASE_SETTING, 7)), request()], served()),
    "5.5 an unknown frame between requests":
        ([request(), answer_to(1), frame(GREASE_FRAME, 0, 1, b"x"), request(3)], served(1, 3)),
    "5.5 an unknown frame inside a field block":
        ([request(flags=END_STREAM), frame(GREASE_FRAME, 0, 0, b"x")], goaway(PROTOCOL_ERROR)),
    "5.5 PRIORITY_UPDATE of RFC 9218": ([frame(0x10, 0, 0, struct.pack("!I", 1) + b"u=1"), request()],
                                        served()),
    # ---- DATA
    "6.1 DATA": ([POST, data()], served()),
    "6.1 several DATA": ([POST, data(flags=0), data()], served()),
    "6.1 DATA of nothing": ([POST, data(b"")], served()),
    "6.1 DATA with padding": ([POST, data(b"\x06abc" + bytes(6), flags=END_STREAM | PADDED)], served()),
    "6.1 DATA that is all padding": ([POST, data(b"\x06" + bytes(6), flags=END_STREAM | PADDED)],
                                     served()),
    "6.1 DATA on stream 0": ([POST, data(stream=0)], goaway(PROTOCOL_ERROR)),
    "6.1 padding as long as the frame": ([POST, data(b"\x04abc", flags=END_STREAM | PADDED)],
                                         goaway(PROTOCOL_ERROR)),
    "6.1 padding longer than the frame": ([POST, data(b"\xffabc", flags=END_STREAM | PADDED)],
                                          goaway(PROTOCOL_ERROR)),
    "6.1 padding without its length": ([POST, data(b"", flags=END_STREAM | PADDED)],
                                       goaway(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    # ---- HEADERS
    "6.2 HEADERS with padding":
        ([frame(HEADERS, WHOLE | PADDED, 1, b"\x05" + BLOCK + bytes(5))], served()),
    "6.2 HEADERS with padding and a priority":
        ([frame(HEADERS, WHOLE | PADDED | PRIORITY_FLAG, 1, b"\x05" + dependency(0) + BLOCK + bytes(5))],
         served()),
    "6.2 HEADERS on stream 0": ([request(0)], goaway(PROTOCOL_ERROR)),
    "6.2 padding longer than the frame":
        ([frame(HEADERS, WHOLE | PADDED, 1, b"\xff" + BLOCK)], goaway(PROTOCOL_ERROR)),
    "6.2 a priority that does not fit":
        ([frame(HEADERS, WHOLE | PRIORITY_FLAG, 1, b"\0\0\0")], goaway(FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    # ---- PRIORITY
    "6.3 PRIORITY, weight 1": ([frame(PRIORITY, 0, 1, dependency(0, 0)), request()], served()),
    "6.3 PRIORITY, weight 256": ([frame(PRIORITY, 0, 1, dependency(0, 255)), request()], served()),
    "6.3 PRIORITY, a dependency": ([frame(PRIORITY, 0, 1, dependency(3)), request()], served()),
    "6.3 PRIORITY, exclusive":
        ([frame(PRIORITY, 0, 1, dependency(3, exclusive=True)), request()], served()),
    "6.3 PRIORITY on stream 0": ([frame(PRIORITY, 0, 0, dependency(1))], goaway(PROTOCOL_ERROR)),
    "6.3 PRIORITY of 4 octets":
        ([POST, frame(PRIORITY, 0, 1, dependency(0)[:4])], either(FRAME_SIZE_ERROR)),
    # ---- RST_STREAM
    "6.4 RST_STREAM": ([POST, rst_stream(1), request(3)], served(3)),
    "6.4 RST_STREAM on stream 0": ([rst_stream(0)], goaway(PROTOCOL_ERROR)),
    "6.4 RST_STREAM on an idle stream": ([request(), answer_to(1), rst_stream(3)], goaway(PROTOCOL_ERROR)),
    "6.4 RST_STREAM of 3 octets": ([POST, frame(RST_STREAM, 0, 1, b"\0\0\0")], goaway(FRAME_SIZE_ERROR)),
    "6.4 RST_STREAM of 5 octets": ([POST, frame(RST_STREAM, 0, 1, bytes(5))], goaway(FRAME_SIZE_ERROR)),
    # ---- SETTINGS
    "6.5 an acknowledgement with a payload":
        ([frame(SETTINGS, ACK, 0, struct.pack("!HI", 1, 0))], goaway(FRAME_SIZE_ERROR)),
    "6.5 an acknowledgement": ([frame(SETTINGS, ACK), request()], served()),
    "6.5 SETTINGS on a stream": ([frame(SETTINGS, 0, 1)], goaway(PROTOCOL_ERROR)),
    "6.5 SETTINGS of 3 octets": ([frame(SETTINGS, 0, 0, b"\0\3\0")], goaway(FRAME_SIZE_ERROR)),
    "6.5.2 ENABLE_PUSH 2": ([settings((2, 2))], goaway(PROTOCOL_ERROR)),
    "6.5.2 ENABLE_PUSH 0 and 1": ([settings((2, 0), (2, 1)), request()], served()),
    "6.5.2 INITIAL_WINDOW_SIZE above 2^31-1": ([settings((4, 2**31))], goaway(FLOW_CONTROL_ERROR)),
    "6.5.2 MAX_FRAME_SIZE below 16,384": ([settings((5, FRAME_MAX - 1))], goaway(PROTOCOL_ERROR)),
    "6.5.2 MAX_FRAME_SIZE above 16,777,215": ([settings((5, FRAME_LIMIT + 1))], goaway(PROTOCOL_ERROR)),
    "6.5.2 the extremes that are allowed":
        ([settings((1, 0), (3, 0), (4, WINDOW_MAX), (5, FRAME_LIMIT), (6, 0)), request()], served()),
    "6.5.2 HEADER_TABLE_SIZE 2^32-1": ([settings((1, 2**32 - 1)), request()], served()),
    "6.5.2 ENABLE_CONNECT_PROTOCOL by a client": ([settings((8, 1)), request()], served()),
    "6.5.3 SETTINGS are acknowledged": ([frame(SETTINGS) * 3], lambda seen: _acknowledged(seen, 4)),
    # ---- PUSH_PROMISE
    "6.6 PUSH_PROMISE of a client":
        ([POST, frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack("!I", 2) + BLOCK)],
         goaway(PROTOCOL_ERROR)),
    "6.6 PUSH_PROMISE on stream 0":
        ([frame(PUSH_PROMISE, END_HEADERS, 0, struct.pack("!I", 2) + BLOCK)], goaway(PROTOCOL_ERROR)),
    # ---- PING
    "6.7 PING": ([frame(PING, 0, 0, b"12345678")], lambda seen: _answered(seen, b"12345678")),
    "6.7 the answer to a PING that nobody sent":
        ([frame(PING, ACK, 0, b"unasked!")], lambda seen: (ignored(seen), _unanswered(seen))),
    "6.7 PING on a stream": ([frame(PING, 0, 1, b"12345678")], goaway(PROTOCOL_ERROR)),
    "6.7 PING of 7 octets": ([frame(PING, 0, 0, b"1234567")], goaway(FRAME_SIZE_ERROR)),
    "6.7 PING of 9 octets": ([frame(PING, 0, 0, b"123456789")], goaway(FRAME_SIZE_ERROR)),
    # ---- GOAWAY
    "6.8 GOAWAY on a stream": ([frame(GOAWAY, 0, 1, bytes(8))], goaway(PROTOCOL_ERROR)),
    "6.8 GOAWAY of 7 octets": ([frame(GOAWAY, 0, 0, bytes(7))], goaway(FRAME_SIZE_ERROR)),
    "6.8 what was asked before a GOAWAY is answered":
        ([request() + frame(GOAWAY, 0, 0, bytes(8)), answer_to(1)], lambda seen: _answers(seen, 1)),
    # ---- WINDOW_UPDATE
    "6.9 WINDOW_UPDATE": ([request() + window_update(0, 1) + window_update(1, 1)], served()),
    "6.9 an increment of 0 on the connection": ([window_update(0, 0)], goaway(PROTOCOL_ERROR)),
    "6.9 an increment of 0 on a stream": ([POST, window_update(1, 0)], either(PROTOCOL_ERROR)),
    "6.9 WINDOW_UPDATE of 3 octets": ([frame(WINDOW_UPDATE, 0, 0, b"\0\0\1")], goaway(FRAME_SIZE_ERROR)),
    "6.9 WINDOW_UPDATE of 5 octets": ([frame(WINDOW_UPDATE, 0, 0, bytes(5))], goaway(FRAME_SIZE_ERROR)),
    "6.9.1 the connection's window above 2^31-1":
        ([window_update(0, WINDOW_MAX) * 2], goaway(FLOW_CONTROL_ERROR)),
    "6.9.1 a stream's window above 2^31-1":
        ([POST, window_update(1, WINDOW_MAX) * 2], either(FLOW_CONTROL_ERROR)),
    "6.9.2 INITIAL_WINDOW_SIZE makes a stream's window too large":
        ([POST, window_update(1, WINDOW_MAX - WINDOW), settings((4, WINDOW + 1))],
         goaway(FLOW_CONTROL_ERROR)),
    # ---- CONTINUATION
    "6.10 one CONTINUATION":
        ([frame(HEADERS, END_STREAM, 1, BLOCK[:9]) + frame(CONTINUATION, END_HEADERS, 1, BLOCK[9:])],
         served()),
    "6.10 several CONTINUATIONs":
        ([frame(HEADERS, END_STREAM, 1, BLOCK[:9]) + frame(CONTINUATION, 0, 1, BLOCK[9:20])
          + frame(CONTINUATION, 0, 1) + frame(CONTINUATION, END_HEADERS, 1, BLOCK[20:])], served()),
    "6.10 another frame instead of CONTINUATION":
        ([frame(HEADERS, END_STREAM, 1, BLOCK[:9]) + data()], goaway(PROTOCOL_ERROR)),
    "6.10 another frame after a CONTINUATION":
        ([frame(HEADERS, 0, 1, BLOCK[:9]) + frame(CONTINUATION, 0, 1, BLOCK[9:]) + data()],
         goaway(PROTOCOL_ERROR)),
    "6.10 CONTINUATION on stream 0":
        ([frame(HEADERS, END_STREAM, 1, BLOCK[:9]) + frame(CONTINUATION, END_HEADERS, 0, BLOCK[9:])],
         goaway(PROTOCOL_ERROR)),
    "6.10 CONTINUATION on another stream":
        ([frame(HEADERS, END_STREAM, 1, BLOCK[:9]) + frame(CONTINUATION, END_HEADERS, 3, BLOCK[9:])],
         goaway(PROTOCOL_ERROR)),
    "6.10 CONTINUATION after the end of HEADERS":
        ([POST, frame(CONTINUATION, END_HEADERS, 1, block([("x-a", "1")]))], goaway(PROTOCOL_ERROR)),
    "6.10 CONTINUATION after the end of CONTINUATION":
        ([frame(HEADERS, 0, 1, BLOCK[:9]) + frame(CONTINUATION, END_HEADERS, 1, BLOCK[9:])
          + frame(CONTINUATION, END_HEADERS, 1, block([("x-a", "1")]))], goaway(PROTOCOL_ERROR)),
    "6.10 CONTINUATION after DATA":
        ([POST, data(flags=0), frame(CONTINUATION, END_HEADERS, 1, block([("x-a", "1")]))],
         goaway(PROTOCOL_ERROR)),
    # ---- error codes
    "7 RST_STREAM with an unknown code": ([POST, rst_stream(1, GREASE_ERROR), request(3)],
                                          served(3)),
    "7 GOAWAY with an unknown code":
        ([request() + frame(GOAWAY, 0, 0, struct.pack("!II", 0, GREASE_ERROR)), answer_to(1)],
         lambda seen: _answers(seen, 1)),
    # ---- messages
    "8.1 GET": ([request()], served()),
    "8.1 HEAD": ([request(1, get("/", "HEAD"))], served()),
    "8.1 POST": ([post(("content-length", "3")), data()], served()),
    "8.1 POST with trailers":
        ([POST, data(flags=0), frame(HEADERS, WHOLE, 1, block([("x-sum", "3")]))], served()),
    "8.1 OPTIONS *": ([request(1, get("*", "OPTIONS"))], served()),
    "8.1 trailers that do not end the stream":
        ([POST, data(flags=0), frame(HEADERS, END_HEADERS, 1, block([("x-sum", "3")]))], MALFORMED),
    "8.1 a second head": ([POST, request(1, get(), WHOLE)], MALFORMED),
    "8.1 DATA after trailers":
        ([POST + data(flags=0) + frame(HEADERS, WHOLE, 1, block([("x-sum", "3")])) + data()],
         either(STREAM_CLOSED)),
    "8.1.1 more DATA than content-length": ([post(("content-length", "2")), data()], MALFORMED),
    "8.1.1 less DATA than content-length": ([post(("content-length", "4")), data()], MALFORMED),
    "8.1.1 less DATA than content-length, in pieces":
        ([post(("content-length", "9")), data(flags=0), data()], MALFORMED),
    "8.1.1 more DATA than content-length, in pieces":
        ([post(("content-length", "5")), data(flags=0), data()], MALFORMED),
    "8.1.1 content-length without DATA":
        ([request(1, get("/body", "POST", [("content-length", "1")]))], MALFORMED),
    "8.1.1 content-length 0 without DATA":
        ([request(1, get("/body", "POST", [("content-length", "0")]))], served()),
    "8.1.1 content-length and trailers":
        ([post(("content-length", "4")), data(flags=0),
          frame(HEADERS, WHOLE, 1, block([("x-sum", "3")]))], MALFORMED),
    "8.2 a field's name in upper case": ([request(1, get(more=[("X-Upper", "1")]))], MALFORMED),
    "8.2.1 an empty name": ([request(1, get(more=[("", "1")]))], MALFORMED),
    "8.2.1 a space in a name": ([request(1, get(more=[("x a", "1")]))], MALFORMED),
    "8.2.1 a colon in a name": ([request(1, get(more=[("x:a", "1")]))], MALFORMED),
    "8.2.1 DEL in a name": ([request(1, get(more=[("x\x7f", "1")]))], MALFORMED),
    "8.2.1 an octet above 0x7f in a name": ([request(1, get(more=[("x\xff", "1")]))], MALFORMED),
    "8.2.1 NUL in a value": ([request(1, get(more=[("x-a", "1\0")]))], MALFORMED),
    "8.2.1 CR in a value": ([request(1, get(more=[("x-a", "1\r2")]))], MALFORMED),
    "8.2.1 LF in a value": ([request(1, get(more=[("x-a", "1\n2")]))], MALFORMED),
    "8.2.1 a value that begins with a space": ([request(1, get(more=[("x-a", " 1")]))], MALFORMED),
    "8.2.1 a value that ends with a tab": ([request(1, get(more=[("x-a", "1\t")]))], MALFORMED),
    "8.2.1 an empty value": ([request(1, get(more=[("x-a", "")]))], served()),
    **{f"8.2.2 {name}": ([request(1, get(more=[(name, value)]))], MALFORMED)
       for name, value in CONNECTION.items()},
    "8.2.2 te: gzip": ([request(1, get(more=[("te", "gzip")]))], MALFORMED),
    "8.2.2 te: trailers, deflate": ([request(1, get(more=[("te", "trailers, deflate")]))], MALFORMED),
    "8.2.2 te: trailers": ([request(1, get(more=[("te", "trailers")]))], served()),
    "8.3 an unknown pseudo field": ([request(1, get() + [(":test", "1")])], MALFORMED),
    "8.3 a response's pseudo field": ([request(1, get() + [(":status", "200")])], MALFORMED),
    "8.3 a pseudo field in trailers":
        ([POST, data(flags=0), frame(HEADERS, WHOLE, 1, block([(":method", "POST")]))], MALFORMED),
    "8.3 a pseudo field after another field": ([request(1, [("x-a", "1"), *get()])], MALFORMED),
    "8.3.1 an empty path": ([request(1, changed(":path", ""))], MALFORMED),
    "8.3.1 a path without its slash": ([request(1, changed(":path", "index.html"))], MALFORMED),
    "8.3.1 '*' with GET": ([request(1, changed(":path", "*"))], refused()),
    "8.3.1 no method": ([request(1, without(":method"))], MALFORMED),
    "8.3.1 no scheme": ([request(1, without(":scheme"))], MALFORMED),
    "8.3.1 no path": ([request(1, without(":path"))], MALFORMED),
    "8.3.1 no authority and no host": ([request(1, without(":authority"))], refused()),
    "8.3.1 no authority, but a host":
        ([request(1, without(":authority") + [("host", "shop.test")])], served()),
    "8.3.1 the same authority and host": ([request(1, get(more=[("host", "shop.test")]))], served()),
    "8.3.1 another host than the authority": ([request(1, get(more=[("host", "other.test")]))], refused()),
    "8.3.1 an authority with a user": ([request(1, changed(":authority", "me@shop.test"))], refused()),
    "8.3.1 two methods": ([request(1, get() + [(":method", "GET")])], MALFORMED),
    "8.3.1 two schemes": ([request(1, get() + [(":scheme", "http")])], MALFORMED),
    "8.3.1 two paths": ([request(1, get() + [(":path", "/")])], MALFORMED),
    "8.3.1 two authorities": ([request(1, get() + [(":authority", "shop.test")])], MALFORMED),
    "8.4 a client cannot push":
        ([POST, frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack("!I", 4) + BLOCK)],
         goaway(PROTOCOL_ERROR)),
    "8.5 CONNECT with a path": ([request(1, changed(":method", "CONNECT"))], MALFORMED),
    "8.5 CONNECT without an authority": ([request(1, [(":method", "CONNECT")])], MALFORMED),
    "8.5 extended CONNECT, which was not offered":
        ([request(1, changed(":method", "CONNECT") + [(":protocol", "websocket")])], MALFORMED),
}


def _acknowledged(seen, count):
    ignored(seen)
    assert seen.acks == count, seen.acks


def _answered(seen, payload):
    ignored(seen)
    assert seen.pongs == [payload, *MARKS]


def _unanswered(seen):
    assert seen.pongs == [*MARKS]


def _answers(seen, stream):
    """The response came; whether the connection goes on is the edge's to say."""
    assert stream in seen.ended and seen.goaway in (None, NO_ERROR), seen


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    origin = rig.Origin("a")
    number, = rig.free_ports(1)
    origin.handlers["/large"] = lambda wire, asked: origin.answer(wire, asked, 200, b"x" * 200_000)
    with rig.Edge(tmp_path_factory.mktemp("rfc9113"), f"""
listeners: [{{ address: 127.0.0.1, port: {number} }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin.port}"] }} }}
routes: [{{ origins: web }}]
threads: 1
"""):
        yield number


@pytest.mark.parametrize("case", CASES)
def test_rfc_9113(port, case):
    steps, check = CASES[case]
    with H2(port, OPENING) as h2:
        seen = Seen(h2)
        seen.until(lambda: seen.acks == 1)
        for step in steps:
            if isinstance(step, int):
                seen.until(lambda stream=step: seen.complete(stream))
            else:
                h2.send(step)
        for stream in getattr(check, "streams", ()):
            if not seen.complete(stream):
                seen.until(lambda s=stream: seen.complete(s))
        for mark in MARKS:
            h2.send(frame(PING, 0, 0, mark))
            seen.until(lambda: mark in seen.pongs)
        check(seen)


# ---- cases that are a conversation

@pytest.mark.parametrize("preface", [b"GET * HTTP/2.0\r\n\r\nSM\r\n\r\n", PREFACE[:-1] + b"x",
                                     PREFACE[:18] + b"XX\r\n\r\n"])
def test_3_4_a_wrong_preface_ends_the_connection(port, preface):
    with H2(port, preface + frame(SETTINGS) + request()) as h2:
        assert b"HTTP/1.1 200" not in h2.wire.rest()


@pytest.mark.parametrize("first", [frame(PING, 0, 0, b"12345678"), request(), frame(SETTINGS, ACK)])
def test_3_4_the_first_frame_is_settings(port, first):
    with H2(port, PREFACE + first) as h2:
        seen = Seen(h2)
        seen.until(lambda: False)
        assert seen.goaway == PROTOCOL_ERROR and not seen.heads


def test_3_4_the_edge_begins_with_settings(port):
    with H2(port) as h2:
        kind, flags, stream, payload = next(h2.frames())
    assert (kind, flags, stream, len(payload) % 6) == (SETTINGS, 0, 0, 0)


def test_5_1_2_more_streams_than_the_edge_allows(port):
    """What is too much is refused or a connection error; what is allowed is not."""
    with H2(port, OPENING) as h2:
        _, _, _, payload = next(h2.frames())
        offered = dict(struct.unpack("!HI", payload[at:at + 6]) for at in range(0, len(payload), 6))
        h2.send(frame(SETTINGS, ACK))
        most = offered[3]
        h2.send(b"".join(request(stream, get("/body", "POST"), END_HEADERS)
                         for stream in range(1, 2 * most + 2, 2)))
        seen = Seen(h2)
        seen.until(lambda: seen.goaway is not None or seen.complete(2 * most + 1))
    assert seen.goaway == PROTOCOL_ERROR or seen.resets == {2 * most + 1: REFUSED_STREAM}, seen


@pytest.mark.parametrize("window", [1, 100, FRAME_MAX + 1])
def test_6_9_1_no_more_is_sent_than_the_window_has(port, window):
    with H2(port, PREFACE + settings((4, window))) as h2:
        h2.send(request(1, get("/large")))
        seen = Seen(h2)
        seen.until(lambda: len(seen.bodies.get(1, b"")) >= window)
        for mark in MARKS:
            h2.send(frame(PING, 0, 0, mark))
            seen.until(lambda m=mark: m in seen.pongs)
        assert len(seen.bodies[1]) == window
        h2.send(window_update(1, 5))
        seen.until(lambda: len(seen.bodies[1]) >= window + 5)
        assert len(seen.bodies[1]) == window + 5 and seen.goaway is None


def test_6_9_1_the_connections_window_holds_for_all_streams(port):
    with H2(port, PREFACE + settings((4, 1 << 20))) as h2:
        h2.send(request(1, get("/large")), request(3, get("/large")))
        seen = Seen(h2)

        def received():
            return sum(map(len, seen.bodies.values()))

        seen.until(lambda: received() >= WINDOW)
        for mark in MARKS:
            h2.send(frame(PING, 0, 0, mark))
            seen.until(lambda m=mark: m in seen.pongs)
        assert received() == WINDOW
        h2.send(window_update(0, 1 << 20))
        seen.until(lambda: {1, 3} <= seen.ended)
        assert seen.bodies == {1: b"x" * 200_000, 3: b"x" * 200_000}


def test_6_9_2_a_smaller_window_may_become_negative(port):
    with H2(port, PREFACE + settings((4, 3))) as h2:
        h2.send(request(1, get("/large")))
        seen = Seen(h2)
        seen.until(lambda: len(seen.bodies.get(1, b"")) >= 3)
        h2.send(settings((4, 2)), window_update(1, 1))  # -1, then 0: nothing may come
        for mark in MARKS:
            h2.send(frame(PING, 0, 0, mark))
            seen.until(lambda m=mark: m in seen.pongs)
        assert len(seen.bodies[1]) == 3
        h2.send(window_update(1, 1))
        seen.until(lambda: len(seen.bodies[1]) >= 4)
        assert len(seen.bodies[1]) == 4


def test_6_9_2_a_larger_window_is_in_force_at_once(port):
    with H2(port, PREFACE + settings((4, 0))) as h2:
        h2.send(request(1, get("/large")), settings((4, 10), (4, 7)))  # §6.5.3: the last value counts
        seen = Seen(h2)
        seen.until(lambda: len(seen.bodies.get(1, b"")) >= 7)
        for mark in MARKS:
            h2.send(frame(PING, 0, 0, mark))
            seen.until(lambda m=mark: m in seen.pongs)
        assert len(seen.bodies[1]) == 7


def test_4_2_no_frame_is_larger_than_the_client_allows(port):
    with H2(port, PREFACE + settings((4, 1 << 20))) as h2:
        h2.send(window_update(0, 1 << 20), request(1, get("/large")))
        sizes = []
        for kind, flags, _, payload in h2.frames():
            sizes.append(len(payload))
            if kind == DATA and flags & END_STREAM:
                break
        assert max(sizes) <= FRAME_MAX
