"""What holds for every test: a clean environment, fixed seeds, and nothing left behind."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Iterator

import hypothesis
import pytest

from tests.certs import Certs, tls_certs
from tests.helpers import Leftovers

pytest_plugins = ["pytester"]

# Examples are the same in every run: a failure is a failure for everybody. Time limits belong to no test.
hypothesis.settings.register_profile("house", derandomize=True, deadline=None, max_examples=100, print_blob=False)
hypothesis.settings.load_profile("house")

_PERSONAL = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "sslkeylogfile",
    "ssl_cert_file",
    "ssl_cert_dir",
    "netrc",
)


def pytest_configure() -> None:
    """Take away what a user's environment might say to the library."""
    for name in list(os.environ):
        if name.lower() in _PERSONAL:
            del os.environ[name]


@pytest.fixture(autouse=True)
def _a_fresh_engine() -> Iterator[None]:
    """No test leaves requests in the default engine's queue, or figures in its report, to the next one."""
    yield
    face = sys.modules.get("aquests.script")
    engine = face.script.made if face is not None else None
    if engine is not None:
        left = engine.pending
        if left:
            face.script.made = None  # type: ignore[union-attr]
        else:
            engine.reset()
        assert not left, f"{left} requests were left in the queue"


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Fail a test that leaves a thread, a child process or an open socket behind."""
    before = Leftovers()
    yield
    if left := before.find():
        gc.collect()  # a socket in a reference cycle is closed here, and complains by a ResourceWarning
        if left := before.find(0.0):
            pytest.fail("left behind: " + ", ".join(left), pytrace=False)


@pytest.fixture(autouse=True)
def _same_luck() -> None:
    """Whoever uses the global random generator gets the same numbers in every run."""
    random.seed(20240229)


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certs:
    """The certificates of this run: ``certs.good``, ``certs.expired`` …, and contexts made of them."""
    return tls_certs(tmp_path_factory.mktemp("certs"))
