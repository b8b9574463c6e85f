"""Header compression for HTTP/2 (RFC 7541), arranged so that nearly nothing is done twice.

Facts. Servers answer alike thousands of times a second. Some (nginx) write every field out each time and ask
us to keep it in the table, which they then never use; others send one byte a field that means the table's
present contents; behind proxies a unique id stands among them. With the ``hpack`` package eight fields cost 37 µs
written out, 15 µs indexed, and 21 µs indexed with a new id (``benchmarks/h2blocks.py``): up to four requests' time.

Chosen, for what comes in:

- A block that names nothing from the dynamic table means the same on every line, for ever: what was made of it
  is kept per place, with what it adds to the table. The additions are put off until a block looks into the table.
- A block that only looks into the table means the same until the table changes: kept per line. Either costs 0.1 µs.
- Any other block is read here, field by field; literals seen before are not decoded again. The automaton of the
  Huffman coding and the static table are those of the ``hpack`` package.

For what goes out: literals without indexing only, so that the bytes of a block can be used for ever, on every line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from hpack.table import HeaderTable

from .h2frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, LEAST_FRAME, Fault
from .h2huffman import decode_huffman
from .http1head import MAX_HEAD, MAX_HEADERS

Pair = tuple[str, str]
Made = TypeVar("Made")

STATIC: Final[tuple[Pair, ...]] = (
    ("", ""),  # index 0 means nothing; who sends it is refused
    *((name.decode(), value.decode()) for name, value in HeaderTable.STATIC_TABLE),
)
_DYNAMIC: Final = len(STATIC)
"""The first index of the dynamic table."""
TABLE_SIZE: Final = 4096
"""Bytes of our dynamic table, as counted by RFC 7541 4.1: the initial SETTINGS_HEADER_TABLE_SIZE."""
OVERHEAD: Final = 32
_HARMLESS: Final = MAX_HEADERS
"""Bytes of a block that needs no table and cannot decode to too much: a byte is at most one field of 60 bytes."""
MAX_KNOWN: Final = 256
"""Blocks kept per place; with Date in each of them they grow old within a second."""
MAX_OWN: Final = 64
MAX_TEXTS: Final = 1024
"""Names in Huffman coding kept per place, none longer than MAX_TEXT bytes; and as many literal fields."""
MAX_TEXT: Final = 128


# Out


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """A number with a prefix of so many bits, the other bits of the first byte given (RFC 7541 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out = bytearray((first | most,))
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


EMPTY_TABLE: Final = integer(0, 5, 0x20)
"""Said once ahead of the first block of a line: our encoder's table is empty. Then the peer may lower
SETTINGS_HEADER_TABLE_SIZE as it likes, and no block ever has to speak of it (RFC 7541 4.2)."""

_NAMES: Final = {name: index for index, (name, _) in reversed(tuple(enumerate(STATIC)))}
_PAIRS: Final = {pair: index for index, pair in reversed(tuple(enumerate(STATIC))) if pair[1]}


def text(value: bytes) -> bytes:
    """A string literal, without Huffman coding: written once, it may be read a million times (RFC 7541 5.2)."""
    return integer(len(value), 7) + value


def name_of(name: str, secret: bool = False) -> bytes:
    """A literal field's beginning up to its value, without indexing; ``secret``: nobody may ever index it (6.2)."""
    first = 0x10 if secret else 0
    index = _NAMES.get(name)
    return integer(index, 4, first) if index else bytes((first,)) + text(name.encode("latin-1"))


def field(name: str, value: str, secret: bool = False) -> bytes:
    """One field: indexed if the static table has it, else literal."""
    index = None if secret else _PAIRS.get((name, value))
    return integer(index, 7, 0x80) if index else name_of(name, secret) + text(value.encode("latin-1"))


# In


class Blocks(Generic[Made]):
    """What the lines of a place share: ``make(pairs)`` is called once for every distinct block."""

    __slots__ = ("known", "literals", "make", "texts")

    def __init__(self, make: Callable[[tuple[Pair, ...]], Made]):
        self.make = make
        self.known: dict[bytes, tuple[Made, tuple[Pair, ...]]] = {}
        """Blocks that need no table, with what they add to it."""
        self.literals: dict[bytes, Pair] = {}
        """Literal fields as they are encoded."""
        self.texts: dict[bytes, str] = {}

    def huffman(self, raw: bytes) -> str:
        """Names are few: they are kept."""
        decoded = self.texts.get(raw)
        if decoded is None:
            decoded = decode_huffman(raw)
            if len(raw) <= MAX_TEXT:
                if len(self.texts) >= MAX_TEXTS:
                    self.texts.clear()
                self.texts[raw] = decoded
        return decoded

    def keep(self, literal: bytes, pair: Pair) -> None:
        """Remember what a literal field says that depends on no table."""
        if len(self.literals) >= MAX_TEXTS:
            self.literals.clear()
        self.literals[literal] = pair


class Decoder(Generic[Made]):
    """The dynamic table of one line. Each block must be decoded, in order, even if nobody wants it any more."""

    __slots__ = ("_added", "_blocks", "_changed", "_entries", "_known", "_late", "_most", "_pure", "_size", "own")

    def __init__(self, blocks: Blocks[Made]):
        self._blocks = blocks
        self._known = blocks.known
        self.own: dict[bytes, Made] = {}
        """Blocks that leave the table as it is, none longer than a frame: who finds one in here need not ``decode`` it.
        Emptied when the table changes, as some of them look into it."""
        self._entries: deque[Pair] = deque()
        self._size = 0
        self._most = TABLE_SIZE
        # Entries have at least 32 bytes: what is older than 128 additions has left the table long ago.
        self._late: deque[tuple[Pair, ...]] = deque(maxlen=TABLE_SIZE // OVERHEAD)
        """What known blocks add, oldest first; not in the table yet."""
        self._added: list[Pair] = []
        """What the present block adds as long as it is pure: names nothing from the table."""
        self._pure = True
        self._changed = False
        """Does the present block change the table?"""

    def decode(self, block: bytes) -> Made:
        """What ``make`` made of the block's fields. Raises Fault: the line cannot go on then."""
        made = self.own.get(block)
        if made is not None:
            return made
        known = self._known.get(block)
        if known is None:
            return self._decode(block)
        made, added = known
        if added:
            self._late.append(added)
            if self.own:
                self.own.clear()
        else:
            self._keep(block, made)
        return made

    def _keep(self, block: bytes, made: Made) -> None:
        """This block leaves the table as it is."""
        if len(block) <= LEAST_FRAME:
            if len(self.own) >= MAX_OWN:
                self.own.clear()
            self.own[block] = made

    def _decode(self, block: bytes) -> Made:
        self._pure = True
        self._changed = False
        self._added = []
        make = self._blocks.make
        made = make(self._read(block))
        if self._pure:
            added = tuple(self._added)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[block] = (made, added)
            if added:
                self._late.append(added)
        if self._changed:
            self.own.clear()
        elif not self._pure:
            self._keep(block, made)
        return made

    def _read(self, block: bytes) -> tuple[Pair, ...]:
        """The fields. The hot path of blocks that are new each time, though most of their fields are not."""
        pairs: list[Pair] = []
        known = self._blocks.literals
        added = self._added
        at = 0
        end = len(block)
        try:
            while at < end:
                byte = block[at]
                if byte >= 0x80:  # indexed (6.1)
                    index, at = (byte & 0x7F, at + 1) if byte < 0xFF else _integer(block, at, 0x7F)
                    pair = STATIC[index] if index < _DYNAMIC else self._entry(index)
                    if not index:
                        raise Fault(COMPRESSION_ERROR, "header index 0")
                elif byte & 0xE0 == 0x20:  # a new size of the table (6.3)
                    if pairs:
                        raise Fault(COMPRESSION_ERROR, "a table size behind the first field")
                    index, at = _integer(block, at, 0x1F)
                    self._resize(index)
                    continue
                else:  # literal: with indexing (6.2.1), without (6.2.2) or never (6.2.3)
                    mask = 0x3F if byte >= 0x40 else 0x0F
                    # Where it ends if its numbers are one byte each: only such ones are kept.
                    name_end = at + 1 if byte & mask else at + 2 + (block[at + 1] & 0x7F)
                    stop = name_end + 1 + (block[name_end] & 0x7F)
                    literal = block[at:stop]
                    found = known.get(literal)
                    if found is not None:
                        pair, at = found, stop
                    else:
                        index = byte & mask
                        pair, at = self._literal(block, at, mask)
                        if at == stop and index < mask and index < _DYNAMIC:
                            self._blocks.keep(literal, pair)
                    if byte < 0x40:
                        pass
                    elif self._pure:
                        self._changed = True
                        added.append(pair)
                    else:
                        self._changed = True
                        self._insert(pair)
                pairs.append(pair)
        except IndexError:
            raise Fault(COMPRESSION_ERROR, "a header block is cut short") from None
        if end > _HARMLESS or not self._pure:
            _check_size(pairs)
        return tuple(pairs)

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Pair, int]:
        """A literal field, and where it ends."""
        index, at = _integer(block, at, mask)
        if index:
            name = (STATIC[index] if index < _DYNAMIC else self._entry(index))[0]
        else:
            name, at = _text(block, at, self._blocks.huffman)
        value, at = _text(block, at, decode_huffman)
        return (name, value), at

    # The dynamic table (RFC 7541 2.3.2, 4)

    def _entry(self, index: int) -> Pair:
        self._settle()
        if index - _DYNAMIC >= len(self._entries):
            raise Fault(COMPRESSION_ERROR, f"header index {index} of {_DYNAMIC + len(self._entries) - 1}")
        return self._entries[index - _DYNAMIC]

    def _settle(self) -> None:
        """Bring the table up to date: the present block depends on it, or changes its size."""
        if self._pure:
            self._pure = False
            for added in (*self._late, self._added):
                for pair in added:
                    self._insert(pair)
            self._late.clear()

    def _insert(self, pair: Pair) -> None:
        self._entries.appendleft(pair)
        self._size += len(pair[0]) + len(pair[1]) + OVERHEAD
        if self._size > self._most:
            self._evict()

    def _resize(self, most: int) -> None:
        if most > TABLE_SIZE:
            raise Fault(COMPRESSION_ERROR, f"a header table of {most} bytes, {TABLE_SIZE} are allowed")
        self._settle()
        self._changed = True
        self._most = most
        self._evict()

    def _evict(self) -> None:
        while self._size > self._most:
            name, value = self._entries.pop()
            self._size -= len(name) + len(value) + OVERHEAD


def _check_size(pairs: list[Pair]) -> None:
    """A block is small, what it decodes to need not be."""
    if len(pairs) > MAX_HEADERS:
        raise Fault(ENHANCE_YOUR_CALM, f"a header block decodes to over {MAX_HEADERS} fields")
    if sum([len(name) + len(value) for name, value in pairs]) + OVERHEAD * len(pairs) > MAX_HEAD:
        raise Fault(ENHANCE_YOUR_CALM, f"a header block decodes to over {MAX_HEAD:,} bytes")


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """A number, and where it ends (5.1); at most four bytes behind the prefix: nothing here needs more."""
    value = block[at] & mask
    at += 1
    if value == mask:
        for shift in (0, 7, 14, 21):
            byte = block[at]
            at += 1
            value += (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise Fault(COMPRESSION_ERROR, "a number in a header block is too large")
    return value, at


def _text(block: bytes, at: int, huffman: Callable[[bytes], str]) -> tuple[str, int]:
    """A string literal, and where it ends (5.2)."""
    byte = block[at]
    length, at = (byte & 0x7F, at + 1) if byte & 0x7F < 0x7F else _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise IndexError
    raw = block[at:end]
    return (huffman(raw) if byte >= 0x80 else raw.decode("latin-1")), end
