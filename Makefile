# Everything a developer runs. Each target makes .venv first; a second run installs nothing.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOOPS  := barnraise/native/_kernels.so

# Tests share the CPUs out among processes, each with its own folders. An end-to-end file stays on one process, so that
# what its tests share is made once; no mark does that any more (pytest 9.2 hides --dist loadgroup's groups).
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, len(os.sched_getaffinity(0))))' 2>/dev/null || echo 2)

# The system's own Chromium; where apt-get cannot bring one, install it by hand, or name it in BARNRAISE_CHROMIUM. A
# command and no prerequisite, or make would begin the other row of `make test` first and e2e only when that ends.
CHROMIUM := command -v chromium >/dev/null || test -n "$$BARNRAISE_CHROMIUM" || { \
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
        >/dev/null; } || { echo "Chromium is missing: install it, or name it in BARNRAISE_CHROMIUM" >&2; exit 1; }; }

# Tests start hundreds of processes, and compiling all modules again takes each of them seconds: keep what was compiled,
# also where the environment (a container's, often) says otherwise.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test lint types imports unit e2e laws chaos corruption monitoring browser chromium eval bench \
    bench-convergence clean

setup: $(STAMP) $(LOOPS)

# torch is named first: with it in place, nothing asks for a build with CUDA.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "barnraise needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The compiled loops are optional: without a compiler the line below says so and everything still works.
$(LOOPS): $(wildcard barnraise/native/src/*.[ch]) barnraise/native/build.py | $(STAMP)
	-$(BIN)/python -m barnraise.native.build

# A whole run on real input: four volunteers, one poisoner, releases, a pull. Two to three minutes.
demo: setup
	$(BIN)/barnraise demo

# In two rows: real processes wait for each other, and units, which give way to them, take the cores meanwhile. What a
# target says comes when it ends, in one piece; one that fails lets no other begin, and Ctrl-C ends them all.
TWO := $(MAKE) --no-print-directory --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

test: setup chromium
	@+$(TWO) lint types imports
	@+$(TWO) e2e unit monitoring

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

unit: setup
	nice $(BIN)/python -m pytest tests/unit tests/sim -n $(WORKERS) --dist worksteal

e2e: setup
	@$(CHROMIUM)
	$(if $(CI),BARNRAISE_SCREENSHOTS=build/screenshots) $(BIN)/python -m pytest tests/e2e -n $(WORKERS) \
	    --dist loadfile --no-loadscope-reorder

# The long way of every law, of which `make test` takes the short one: all moments of a crash, examples drawn anew.
laws: setup
	BARNRAISE_LAWS=1 $(BIN)/python -m pytest tests/unit tests/sim -n $(WORKERS) --dist worksteal
	BARNRAISE_LAWS=1 $(BIN)/python -m pytest tests/e2e/test_demo.py

# Kills every process of a run again and again; `make test` has the short version.
chaos: setup
	BARNRAISE_CHAOS_ROUNDS=12 $(BIN)/python -m pytest tests/e2e/test_chaos.py

# 10,000 pulls, of each of which a transfer is spoiled; `make test` has 80. A quarter of an hour.
corruption: setup
	$(BIN)/python benchmarks/corruption.py

# Rules, dashboards and metrics before promtool, and the real Prometheus against a coordinator. Debian's package has both;
# it is unpacked here, not installed. Where it cannot be had this says so: nothing of it was checked then.
PROMETHEUS := $(VENV)-prometheus/usr/bin

monitoring: setup
	@if command -v prometheus >/dev/null && command -v promtool >/dev/null; then tools=; \
	elif [ -x $(PROMETHEUS)/promtool ] || $(MAKE) --silent $(PROMETHEUS)/promtool; then tools=$(CURDIR)/$(PROMETHEUS); \
	else echo "monitoring: NOT CHECKED. There is no promtool and no package of it here; on Debian: apt-get install prometheus"; \
	     exit 0; fi; \
	BARNRAISE_PROMETHEUS=$$tools $(BIN)/python -m pytest tests/monitoring

$(PROMETHEUS)/promtool:
	@mkdir -p $(VENV)-prometheus
	@cd $(VENV)-prometheus && apt-get download --quiet prometheus >/dev/null 2>&1 && dpkg-deb --extract prometheus_*.deb .

# Every page in a real browser, at three widths and in both themes, hostile names too; build/screenshots keeps what it
# saw. `make test` has the short version.
browser: setup
	@$(CHROMIUM)
	BARNRAISE_BROWSER=1 BARNRAISE_SCREENSHOTS=build/screenshots $(BIN)/python -m pytest tests/e2e/test_browser.py

chromium:
	@$(CHROMIUM)

# Tests with EleutherAI's harness and transformers, which have an environment of their own: about 1.8 GB.
eval: $(VENV)-eval/.installed
	$(VENV)-eval/bin/python -m pytest tests/eval -W default

$(VENV)-eval/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-eval
	$(VENV)-eval/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(VENV)-eval/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    -e '.[eval]' accelerate pytest pytest-timeout hypothesis
	@touch $@

# Peers that are measured beside us (mergekit, Flower, ByzFL, hivemind) live in an environment of their own:
#     make bench PEERS=/path/to/its/bin/python
# Without it their rows say so. A few minutes; the full sizes and what takes longer are in benchmarks/README.md.
BESIDE = $(if $(PEERS),--peers $(PEERS))

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/update_size.py --quick
	$(BIN)/python benchmarks/codec_speed.py --quick $(BESIDE)
	$(BIN)/python benchmarks/merge_speed.py --quick $(BESIDE)
	$(BIN)/python benchmarks/offline_merge.py --quick $(BESIDE)
	$(BIN)/python benchmarks/lossless.py .bench-models --quick $(BESIDE)
	$(BIN)/python benchmarks/release_speed.py --quick
	$(BIN)/python benchmarks/storage.py --quick
	$(BIN)/python benchmarks/sequential.py --quick
	$(BIN)/python -m benchmarks.convergence --quick
	$(BIN)/python -m benchmarks.attached --quick

# Hours on two cores; every finished run is kept, so it may be stopped and continued.
bench-convergence: $(VENV)/.bench
	$(BIN)/python -m benchmarks.convergence --full

$(VENV)/.bench: $(STAMP) constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-eval $(VENV)-prometheus build dist demo-run .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
