# `make run` and `make test` are all that a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin
# Tests mostly wait for other processes to start: two at a time, also on one core.
N ?= 2
# Without bytecode every process would rewrite the asserts of all tests again: a quarter of its start.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(N) --durations 15
DEBIAN_PACKAGES := chromium chromium-driver dataset-fashion-mnist faketime postgresql
APT := apt-get -o DPkg::Lock::Timeout=600

.PHONY: help run check test test-all soak coverage lint docs system clean

help: ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: .venv/.installed ## train two_circles and say where the picture is
	$(BIN)/python -m pipeline run two_circles

check: system .venv/.installed-dev lint ## linters, types, and every test that starts no process and takes less than a second
	$(PYTEST) -m "not slow and not real and not thorough and not soak"

test: system .venv/.installed-dev lint ## check, slower tests, and each promise once on real servers
	$(PYTEST) -m "not thorough and not soak"

test-all: system .venv/.installed-dev lint ## everything: every fault, autoscaling, compiled flows, all benchmarks
	$(PYTEST)

soak: .venv/.installed-dev ## 200 phases with random kills, a quarter of an hour
	$(BIN)/python -m pytest -m soak

coverage: system .venv/.installed-dev ## branch coverage of the packages by all tests that start no process
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/coverage run -m pytest -n $(N) -m "not real and not thorough and not soak"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet --directory .coverage-html
	$(BIN)/coverage report --skip-covered

lint: .venv/.installed-dev ## linters, types, and the language of the guide and of --help
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r components pipeline tune deploy sjko benchmarks
	$(BIN)/python docs/made/prose.py

docs: .venv/.installed-dev ## the guide as a site in site/; to search it, python -m http.server -d site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

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
	    dpkg -s $(DEBIAN_PACKAGES) >/dev/null 2>&1 || { $(APT) update -qq && DEBIAN_FRONTEND=noninteractive $(APT) install -y -qq $(DEBIAN_PACKAGES) >/dev/null; }; \
	else echo "not installing Debian packages: $(DEBIAN_PACKAGES)"; fi

clean: ## remove the environment and all local state
	rm -rf .venv .sjko site
