"""What a client says first: the bytes, by the independent reader."""

from __future__ import annotations

from aquests.protocols.h2greeting import GREETING, RECEIVE_WINDOW, SETTINGS
from tests.protocols.h2peer import parse


def test_it_is_the_preface_settings_and_a_window() -> None:
    preface, rest = GREETING[:24], GREETING[24:]
    assert preface == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings, window = parse(rest)
    assert settings.settings == {1: 4096, 2: 0, 4: RECEIVE_WINDOW, 6: 65536}
    assert rest[9 : 9 + len(SETTINGS)] == SETTINGS
    assert window.stream_id == 0 and window.window_increment == RECEIVE_WINDOW - 65535
