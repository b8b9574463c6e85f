"""The page of ``http2``, each answer with a header of its own: no header block is ever met twice."""

from __future__ import annotations

from dataclasses import replace

from . import http2
from .nginx import differing_page

CASE = replace(
    http2.CASE,
    name="http2-differ",
    title=http2.CASE.title + ", a unique id in each answer",
    server=differing_page,
)
