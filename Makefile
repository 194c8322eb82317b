# `make run` and `make test` are all that a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin
DEBIAN_PACKAGES := chromium chromium-driver dataset-fashion-mnist faketime postgresql

.PHONY: run test lint unit soak system clean

run: .venv/.installed ## train two_circles and say where the picture is
	$(BIN)/python -m pipeline run two_circles

test: system .venv/.installed-dev lint unit ## linters, types and all tests

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r components pipeline tune deploy benchmarks

unit: .venv/.installed-dev
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder --durations 30

soak: .venv/.installed-dev ## 200 phases with random kills, a quarter of an hour
	$(BIN)/python -m pytest -m soak

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# A real PostgreSQL, a real browser and real images for the tests; without root the tests that need them say what is missing.
system:
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    dpkg -s $(DEBIAN_PACKAGES) >/dev/null 2>&1 || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(DEBIAN_PACKAGES) >/dev/null; }; \
	else echo "not installing Debian packages: $(DEBIAN_PACKAGES)"; fi

clean:
	rm -rf .venv .sjko
