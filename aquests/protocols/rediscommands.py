"""Redis commands as words: how they are written, which may not be sent, how long they block, where their key stands.

Most commands need nothing said about them: the name is sent as it is, and an unknown one is the server's affair.
The tables hold the exceptions:

- Lines are shared and pipelined. A command that would change the line for the others (SELECT, WATCH …), or
  that has no answer or no end to its answers (SUBSCRIBE, CLIENT REPLY …), is refused.
- A command that blocks holds up everything behind it: it gets a line of its own, and more time.
- In a cluster the key says which node to ask. Only keys that are certainly keys count: without one the
  request goes to the server it was meant for, and that server says better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import inf, isfinite
from typing import Any, Final

from hiredis import Reader, pack_command

from ..errors import RequestError

Words = tuple[str, ...]


def _each(names: str) -> list[str]:
    return names.split()


CONTAINERS: Final = frozenset(
    _each(
        "ACL CLIENT CLUSTER COMMAND CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT PUBSUB SCRIPT SENTINEL SLOWLOG"
        " XGROUP XINFO"
    )
)
"""Commands whose second word is a command, too: ``config_get`` and ``config.get`` are CONFIG GET."""
ALIASES: Final = {"DELETE": "DEL"}
"""``del`` is a word of Python's."""

_ENDLESS: Final = "its messages have no end, and a request has one answer"
_BATCH: Final = "a line is shared: use transaction([(command, …), …])"
_CLUSTER: Final = "a line is shared: redirects of a cluster are followed anyway"
_LINE: Final = "it would change a line that is shared"
REFUSED: Final = {
    **dict.fromkeys(_each("SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE"), _ENDLESS),
    **dict.fromkeys(_each("MONITOR SYNC PSYNC REPLCONF"), _ENDLESS),
    **dict.fromkeys(_each("MULTI EXEC DISCARD"), _BATCH),
    **dict.fromkeys(_each("WATCH UNWATCH"), "a line is shared: let a script compare and set (eval), on the server"),
    **dict.fromkeys(_each("ASKING READONLY READWRITE"), _CLUSTER),
    "SELECT": "a line is shared: give db= where the stub is made",
    "AUTH": "a line is shared: give auth= where the stub is made",
    "HELLO": "a line is shared: give protocol=, auth= and name= where the stub is made",
    "CLIENT SETNAME": "a line is shared: give name= where the stub is made",
    **dict.fromkeys(("RESET", "QUIT"), "lines are opened and closed by the run"),
    **dict.fromkeys(("CLIENT REPLY", "CLIENT TRACKING", "CLIENT CACHING", "CLIENT NO-EVICT"), _LINE),
    **dict.fromkeys(("CLIENT NO-TOUCH", "SCRIPT DEBUG", "DEBUG PROTOCOL"), _LINE),
}
"""What is not sent, and what to do instead."""

_BLOCKING: Final[dict[str, tuple[int, float]]] = {
    **dict.fromkeys(_each("BLPOP BRPOP BLMOVE BRPOPLPUSH BZPOPMIN BZPOPMAX"), (-1, 1.0)),
    **dict.fromkeys(_each("BLMPOP BZMPOP"), (0, 1.0)),
    **dict.fromkeys(_each("WAIT WAITAOF"), (-1, 0.001)),
}
"""The argument that says how long, and its unit in seconds."""

AS_SET: Final = frozenset(_each("SMEMBERS SDIFF SINTER SUNION"))
"""Their answers are sets. (SPOP's is one when it has a count.)"""

_KEY_FIRST: Final = frozenset(
    _each(
        "_ APPEND BITCOUNT BITFIELD BITFIELD_RO BITPOS BLMOVE BLPOP BRPOP BRPOPLPUSH BZPOPMAX BZPOPMIN COPY DECR "
        "DECRBY DEL DUMP EXISTS EXPIRE EXPIREAT EXPIRETIME GEOADD GEODIST GEOHASH GEOPOS GEORADIUS "
        "GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GEOSEARCHSTORE GET GETBIT GETDEL GETEX "
        "GETRANGE GETSET HDEL HEXISTS HEXPIRE HEXPIREAT HEXPIRETIME HGET HGETALL HGETDEL HGETEX HINCRBY "
        "HINCRBYFLOAT HKEYS HLEN HMGET HMSET HPERSIST HPEXPIRE HPEXPIREAT HPEXPIRETIME HPTTL HRANDFIELD HSCAN "
        "HSET HSETEX HSETNX HSTRLEN HTTL HVALS INCR INCRBY INCRBYFLOAT LCS LINDEX LINSERT LLEN LMOVE LPOP LPOS "
        "LPUSH LPUSHX LRANGE LREM LSET LTRIM MGET MOVE MSET MSETNX PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PFADD "
        "PFCOUNT PFMERGE PSETEX PTTL RENAME RENAMENX RESTORE RPOP RPOPLPUSH RPUSH RPUSHX SADD SCARD SDIFF "
        "SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE SINTER SINTERSTORE SISMEMBER SMEMBERS SMISMEMBER SMOVE SORT "
        "SORT_RO SPOP SPUBLISH SRANDMEMBER SREM SSCAN STRLEN SUBSTR SUNION SUNIONSTORE TOUCH TTL TYPE UNLINK XACK "
        "XADD XAUTOCLAIM XCLAIM XDEL XLEN XPENDING XRANGE XREVRANGE XSETID XTRIM ZADD ZCARD ZCOUNT ZDIFFSTORE "
        "ZINCRBY ZINTERSTORE ZLEXCOUNT ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE "
        "ZRANGESTORE ZRANK ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX "
        "ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNIONSTORE"
    )
)
"""What COMMAND of Redis 7.0 reports with the key as the first argument, and the hash field commands since."""
_KEY_AT: Final = {
    **dict.fromkeys(_each("BITOP LMPOP SINTERCARD ZDIFF ZINTER ZINTERCARD ZMPOP ZUNION"), 1),
    **dict.fromkeys(_each("BLMPOP BZMPOP EVAL EVALSHA EVALSHA_RO EVAL_RO FCALL FCALL_RO MIGRATE"), 2),
    **dict.fromkeys(_each("OBJECT XGROUP XINFO MEMORY"), 1),
    "XREAD": -1,
    "XREADGROUP": -1,
}
"""The argument that is the first key; -1: the one behind STREAMS. A container's second word counts."""


class Transaction:
    """MULTI, the commands, EXEC: ``data`` on the wire, ``count`` commands in between."""

    __slots__ = ("count", "data")

    def __init__(self, data: bytes, count: int):
        self.data = data
        self.count = count

    def __repr__(self) -> str:
        return f"<Transaction of {self.count} commands>"


@lru_cache(maxsize=1024)
def words_of(name: str) -> Words:
    """The words of a command written as a name of Python's.

    ``lrange`` → LRANGE, ``config_get``, ``config.get`` and ``"CONFIG GET"`` → CONFIG GET, ``client_no_evict`` → CLIENT
    NO-EVICT, ``del_`` → DEL, ``json.set`` → JSON.SET. Raises RequestError for a name that is empty.
    """
    upper = name.upper().rstrip("_")
    if not upper or upper.isspace():
        raise RequestError("the name of the command is missing")
    if " " in upper:
        return tuple(upper.split())
    for joint in "._":
        first, found, second = upper.partition(joint)
        if found and first in CONTAINERS:
            return (first, second.replace("_", "-"))
    return (ALIASES.get(upper, upper),)


def spoken(name: Any, args: Sequence[Any]) -> tuple[Words, Sequence[Any]]:
    """Words and arguments of a call, with the second word of a container among the words.

    Raises RequestError if ``name`` is no name of a command, or that of one that is refused.
    """
    if isinstance(name, (bytes, bytearray)):
        name = name.decode("utf-8", "replace")
    if not isinstance(name, str):
        raise RequestError(f"the name of a command is str, not {type(name).__name__}")
    words = words_of(name)
    if len(words) == 1 and words[0] in CONTAINERS and args and isinstance(args[0], (str, bytes)):
        second = args[0] if isinstance(args[0], str) else args[0].decode("utf-8", "replace")
        words, args = (words[0], second.upper()), args[1:]
    why = REFUSED.get(words[0]) or REFUSED.get(" ".join(words[:2]))
    if why is not None:
        raise RequestError(f"{' '.join(words[:2])} cannot be asked: {why}")
    return words, args


@lru_cache(maxsize=1024)
def plain(name: str) -> Words | None:
    """The words of a command of which nothing is known but that its first argument is the key; None for all others."""
    words, _ = spoken(name, ())
    first = words[0]
    return words if first in _KEY_FIRST and first not in _BLOCKING and first not in AS_SET and first != "SPOP" else None


# On the wire


def encode(words: Words, args: Iterable[Any]) -> bytes:
    """The command as a RESP array. Raises RequestError for an argument that is no str, bytes, int or float."""
    try:
        data: bytes = pack_command((*words, *args))
    except (TypeError, UnicodeEncodeError):
        data = pack_command((*words, *(_scalar(arg, number) for number, arg in enumerate(args, 1))))
    return data


_HINTS: Final = {
    bool: "write 1 or 0",
    type(None): 'leave it out, or write ""',
    dict: "write the pairs one by one",
    list: "put * in front of it",
    tuple: "put * in front of it",
    set: "put * in front of it",
}


def _scalar(arg: Any, number: int) -> Any:
    if isinstance(arg, str):
        try:
            # What came out of decode=True and was no UTF-8 goes back as the bytes it was.
            return arg.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise RequestError(f"argument {number} is text that UTF-8 cannot encode") from error
    if isinstance(arg, (bytearray, memoryview)):
        return bytes(arg)
    if isinstance(arg, (bytes, int, float)) and not isinstance(arg, bool):
        return arg
    hint = _HINTS.get(type(arg), "make it str or bytes")
    raise RequestError(f"argument {number} is {type(arg).__name__}, not str, bytes, int or float: {hint}")


def as_bytes(arg: Any) -> bytes:
    """An argument as it is sent."""
    arg = _scalar(arg, 1)
    return arg if isinstance(arg, bytes) else repr(arg).encode()


def transaction(commands: Iterable[Any]) -> tuple[Transaction, list[tuple[Words, Sequence[Any]]]]:
    """The payload of ``[(name, *args), …]``, and the commands. Raises RequestError for what cannot be one."""
    spoken_commands = []
    pieces = [encode(("MULTI",), ())]
    for command in [commands] if isinstance(commands, (str, bytes)) else commands:
        if not isinstance(command, (tuple, list)) or not command:
            said = "an empty one" if command in ((), []) else type(command).__name__
            raise RequestError(f"a transaction is a list of tuples (command, arguments …), not of {said}")
        words, args = spoken(command[0], command[1:])
        spoken_commands.append((words, args))
        pieces.append(encode(words, args))
    if not spoken_commands:
        raise RequestError("the transaction is empty")
    pieces.append(encode(("EXEC",), ()))
    return Transaction(b"".join(pieces), len(spoken_commands)), spoken_commands


def arguments(payload: bytes | Transaction) -> tuple[Words, Sequence[Any]]:
    """What was encoded: the first word, and all that follows. Of a transaction its first command."""
    reader = Reader()
    if isinstance(payload, Transaction):
        reader.feed(payload.data)
        reader.gets()  # MULTI
    else:
        reader.feed(payload)
    first, *rest = reader.gets()
    return (first.decode("utf-8", "replace"),), rest


# What is known of it


def blocks(words: Words, args: Sequence[Any]) -> float | None:
    """Seconds the command may block at the server; ``inf`` if it says 0, None if it does not block."""
    rule = _BLOCKING.get(words[0])
    if rule is not None:
        at, unit = rule
        return _seconds(args[at], unit) if args else 0.0
    if words[0] in ("XREAD", "XREADGROUP"):
        for option, value in pairwise(args):
            if _is(option, "STREAMS"):
                break
            if _is(option, "BLOCK"):
                return _seconds(value, 0.001)
    return None


def _seconds(value: Any, unit: float) -> float:
    """What is no number blocks nobody: the server says so."""
    try:
        seconds = float(value) * unit
    except (TypeError, ValueError):
        return 0.0
    if seconds == 0:
        return inf
    return seconds if seconds > 0 and isfinite(seconds) else 0.0


def first_key(words: Words, args: Sequence[Any]) -> Any:
    """The first key, or None if there is none, or nobody knows."""
    name = words[0]
    if name in _KEY_FIRST:
        return args[0] if args else None
    at = _KEY_AT.get(name)
    if at is None:
        return None
    if at < 0:
        return next((key for word, key in pairwise(args) if _is(word, "STREAMS")), None)
    rest = [*words[1:], *args]
    if name.startswith(("EVAL", "FCALL")) and len(rest) > 1 and str(_text(rest[1])) == "0":
        return None
    return rest[at] if len(rest) > at else None


def is_set(words: Words, args: Sequence[Any]) -> bool:
    """Is the answer a set?"""
    return words[0] in AS_SET or (words[0] == "SPOP" and len(args) > 1)


def _is(value: Any, word: str) -> bool:
    return isinstance(value, (str, bytes)) and str(_text(value)).upper() == word


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
