"""RFC 7541 (HPACK) at a real edge, octet by octet: what is to be understood reaches the origin as it was
meant, and what cannot be decoded ends the connection with COMPRESSION_ERROR (RFC 9113 §4.3).
"""

import os

import pytest

import edge_rig as rig
from h2_wire import (COMPRESSION_ERROR, GOAWAY, H2, HEADERS, WHOLE, block, frame, get, huffman, integer,
                     settings, text)

pytestmark = pytest.mark.skipif(not os.access(rig.layout.binary(), os.X_OK),
                                reason="leeward is not built")

# Appendix C.4 and C.6, coded there.
NO_CACHE = bytes.fromhex("a8eb10649cbf")
CUSTOM_KEY, CUSTOM_VALUE = bytes.fromhex("25a849e95ba97d7f"), bytes.fromhex("25a849e95bb8e8b4bf")
CACHE_CONTROL, USER_AGENT = 24, 58  # indices of the static table
TABLE_SIZE = 4096


def indexed(index):
    return integer(7, 0x80, index)


def literal(name, value, first=0x40, prefix=6):
    """§6.2; a name is an index or a coded text. First octets: 0x40 into the table, 0 without, 0x10 never."""
    return (integer(prefix, first, name) if isinstance(name, int) else bytes((first,)) + name) + value


def kept(name, value):
    return literal(name, value)


def passed(name, value):
    return literal(name, value, 0, 4)


def secret(name, value):
    return literal(name, value, 0x10, 4)


def table_size(octets):
    return integer(5, 0x20, octets)


KEY, VALUE = text("custom-key"), text("custom-value")
CUSTOM = ("custom-key", "custom-value")
LARGE = "y" * (TABLE_SIZE + 1)

# story: (blocks, each after the pseudo fields of a request of its own unless it begins with "=", and the
# field that the origin must see in the last one)
UNDERSTOOD = {
    "2.3.1 a field of the static table": ([indexed(16)], ("accept-encoding", "gzip, deflate")),
    "2.3.2 a field of the dynamic table": ([kept(KEY, VALUE), indexed(62)], CUSTOM),
    "2.3.3 the newest entry has the lowest index":
        ([kept(KEY, VALUE) + kept(text("x-b"), text("2")), indexed(63)], CUSTOM),
    "4.2 a smaller table at a block's beginning": (["=", table_size(0), kept(KEY, VALUE)], CUSTOM),
    "4.2 two changes at a block's beginning": (["=", table_size(0) + table_size(TABLE_SIZE),
                                                kept(KEY, VALUE), indexed(62)], CUSTOM),
    "4.4 an entry larger than the table empties it":
        ([kept(KEY, VALUE) + kept(text("x-large"), text(LARGE)) + kept(KEY, text("again")), indexed(62)],
         ("custom-key", "again")),
    "5.1 an integer of several octets": ([passed(KEY, text("v" * 5000))], ("custom-key", "v" * 5000)),
    "5.2 Huffman codes": ([passed(huffman(CUSTOM_KEY), huffman(CUSTOM_VALUE))], CUSTOM),
    "6.2.1 kept, name by index": ([kept(CACHE_CONTROL, text("no-cache"))], ("cache-control", "no-cache")),
    "6.2.1 kept, name by index, Huffman": ([kept(CACHE_CONTROL, huffman(NO_CACHE))],
                                           ("cache-control", "no-cache")),
    "6.2.1 kept, new name": ([kept(KEY, VALUE)], CUSTOM),
    "6.2.1 kept, new name, Huffman": ([kept(huffman(CUSTOM_KEY), huffman(CUSTOM_VALUE))], CUSTOM),
    "6.2.1 kept, name of the dynamic table": ([kept(KEY, text("1")), kept(62, VALUE)], CUSTOM),
    "6.2.2 not kept, name by index": ([passed(USER_AGENT, text("us"))], ("user-agent", "us")),
    "6.2.2 not kept, name by index, Huffman": ([passed(CACHE_CONTROL, huffman(NO_CACHE))],
                                               ("cache-control", "no-cache")),
    "6.2.2 not kept, new name": ([passed(KEY, VALUE)], CUSTOM),
    "6.2.3 never kept, name by index": ([secret(USER_AGENT, text("us"))], ("user-agent", "us")),
    "6.2.3 never kept, name by index, Huffman": ([secret(CACHE_CONTROL, huffman(NO_CACHE))],
                                                 ("cache-control", "no-cache")),
    "6.2.3 never kept, new name": ([secret(KEY, VALUE)], CUSTOM),
    "6.2.3 never kept, new name, Huffman": ([secret(huffman(CUSTOM_KEY), huffman(CUSTOM_VALUE))], CUSTOM),
    "6.3 a table as large as was offered": (["=", table_size(TABLE_SIZE), kept(KEY, VALUE)], CUSTOM),
}

WRONG = {
    "2.3.3 an index beyond both tables": indexed(62),
    "2.3.3 a large index beyond both tables": indexed(4000),
    "2.3.3 a name's index beyond both tables": kept(200, text("1")),
    "2.3.3 a name's index beyond both tables, not kept": passed(200, text("1")),
    "4.2 a change of the table at a block's end": table_size(0),
    "4.2 a change of the table inside a block": table_size(0) + passed(KEY, VALUE),
    "4.3 an entry that a smaller table has lost": None,
    "5.1 an integer without its end": b"\xff\x80\x80",
    "5.1 an integer that is too large": b"\xff" + b"\xff" * 9 + b"\x7f",
    "5.2 a text longer than the block": passed(KEY, integer(7, 0, 100) + b"abc"),
    "5.2 padding of more than 7 bits": passed(KEY, huffman(NO_CACHE + b"\xff")),
    "5.2 padding of zeros": passed(huffman(CUSTOM_KEY[:-1] + b"\0"), VALUE),
    "5.2 EOS inside a text": passed(KEY, huffman(b"\xff\xff\xff\xff")),
    "6.1 the index 0": indexed(0),
    "6.2 a literal without a value": passed(KEY, b""),
    "6.3 a table larger than was offered": None,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = rig.OneOrigin(tmp_path_factory.mktemp("rfc7541"))
    with w.edge:
        yield w


@pytest.mark.parametrize("story", UNDERSTOOD)
def test_what_is_well_coded_is_understood(world, story):
    blocks, (name, value) = UNDERSTOOD[story]
    first = b""
    if blocks[0] == "=":
        first, blocks = blocks[1], blocks[2:]
    path = f"/{list(UNDERSTOOD).index(story)}"
    with H2(world.port) as h2:
        for fields in blocks:
            h2.last += 2
            h2.send(frame(HEADERS, WHOLE, h2.last, first + block(get(path)) + fields))
            first = b""
            assert h2.response(h2.last)[0][:1] == b"\x88"
    assert world.origin.last(path).field(name) == value
    assert world.origin.count(path) == len(blocks)


@pytest.mark.parametrize("story", WRONG)
def test_what_cannot_be_decoded_ends_the_connection(world, story):
    before = world.origin.count("/wrong")
    fields = block(get("/wrong"))
    wrong = WRONG[story]
    if story.startswith("6.3"):
        blocks = [table_size(TABLE_SIZE + 1) + fields]
    elif wrong is None:
        blocks = [fields + kept(KEY, VALUE), table_size(0) + fields + indexed(62)]
        before += 1
    else:
        blocks = [fields + wrong]
    with H2(world.port) as h2:
        for number, encoded in enumerate(blocks):
            h2.last += 2
            h2.send(frame(HEADERS, WHOLE, h2.last, encoded))
            if number + 1 < len(blocks):
                h2.response(h2.last)
        assert h2.end() == ("goaway", COMPRESSION_ERROR)
        assert all(kind == GOAWAY for kind, *_ in h2.frames())
    assert world.origin.count("/wrong") == before


def test_a_client_with_a_small_table_gets_no_index_beyond_it(world):
    """The client's SETTINGS_HEADER_TABLE_SIZE is 0: the next response begins with the change (§4.2)."""
    with H2(world.port) as h2:
        h2.send(settings((1, 0)))
        assert h2.response(h2.request(get("/small")))[0][:1] == table_size(0)
