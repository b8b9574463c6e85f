"""The benchmark room: aquests and its peers in turn, in one run, on one machine.

``make bench``, or ``python -m benchmarks [CASE…] [--rounds N] [--quick]``; ``--list`` names the cases.
The machine should have nothing else to do meanwhile.

How a figure comes about, so that it can be trusted and repeated:

- The client runs on one core, the server on another (``machine.py``).
- Each measurement is a fresh process (``child.py``) that does one job and prints one JSON line.
- The peers take turns, A B C A B C …, over several rounds, so that a noisy minute of the machine hits all of
  them; what is shown is the median, and beside it the lowest and the highest (``rounds.py``).
- Every answer is counted and checked, status and length, by the same function for all; the server's own
  counters must agree. A peer whose answers are not all right has no figure: it has failed.
- Who is not installed is named as absent.

A new case is a module with ``CASE``, a line in ``__main__.py``, and what its entries run: functions that take a
``Job`` and return an ``Outcome`` (``case.py``). Another kind of server is a context manager that yields a ``Site``.
"""
