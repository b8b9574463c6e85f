# make demo    see aquests at work, on a server of its own
# make test    run the tests               (make test ARGS="-k url")
# make bench   measure it against others   (make bench ARGS=...)
# make check   format, style and types
# make clean   remove what these have made
#
# Each makes .venv by itself and renews it when setup.py or pyproject.toml change. It takes the newest of
# python3.14, python3.13, python3.12, python3.11 and python3, or: make test PYTHON=/path/to/python

RUN = .venv/bin/python -m
ARGS =

.PHONY: demo test bench check clean venv
.NOTPARALLEL:

demo: .venv/.has-demo
	$(RUN) aquests demo $(ARGS)

test: .venv/.has-test
	$(RUN) pytest $(ARGS)

bench: .venv/.has-bench
	$(RUN) benchmarks $(ARGS)

check: .venv/.has-check
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy

# One stamp for each group of extras in setup.py.
.venv/.has-%: setup.py pyproject.toml | venv
	$(RUN) pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

venv:
	@PYTHON="$(PYTHON)" sh .ci/venv

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
