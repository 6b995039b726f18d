# make demo   set everything up and find plush toys by picture and text; open demo/index.html afterwards
# make serve  set everything up, make a catalog of plush toys, and open the web page that searches it
# make test   set everything up and pass every check and test
# make test-torch   the tests that compare with PyTorch models, export and train them (installs 6 GB)
# make test-kserve   the tests with KServe's own server
# make test-beyond   the tests with Milvus Lite, Ray, other databases and adapters
# make build  only the extension        make tests  only the tests           make lint   only the checks
# make format  write code as the checks want it
# make bench  measure against others
# make soak   the long trials of catalogs one after another, each of at most 60 minutes; it goes on where it was interrupted:
#   soak-kill     kill -9 while catalogs are changed          soak-power    losses of power, simulated
#   soak-changes  random changes beside a dictionary          soak-faults   each call of the system fails once
#   soak-damage   damaged files                               soak-crowd    many processes and threads
#   soak-chaos    a server whose workers, disk and model fail
# make bench-tools   install the modules that the programs in benches/ import, to run them one by one
# make notebooks   run the notebooks, all but the one of PyTorch where that is not installed
# make docs   the documentation as a site in .venv/site, with warnings as errors
# make picture   draw docs/demo.jpg and the figures beside it anew, after the demo or its model has changed
# make wheel  a self-contained wheel in dist/, tested in a clean environment; BASELINE=1 for processors without AVX2
# make sdist  the sources in dist/, built and tested in a clean environment          make clean  forget it all
# make audit  compare crates and packages with the lists of known faults, and licenses with those that are accepted
# make notices  write the licenses of what a wheel holds anew, after Cargo.lock has changed
# make fuzz   give each reader of files and requests damaged samples, 10 minutes each; fuzz-picture and so on for one
# make check-tag TAG=v1.2.3   compare a tag with the version
# Each target first installs what is missing and does nothing twice. The first build takes about ten minutes.

SHELL := /bin/bash
PYTHON ?= python3
# Processes that share the tests of Python among them; more only gain where there are more cores.
WORKERS ?= 2
VENV := $(CURDIR)/.venv
WINDOWS := $(filter Windows_NT,$(OS))
BIN := $(VENV)/$(if $(WINDOWS),Scripts,bin)
DONE := $(VENV)/.done
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# maturin sets this one; without it cargo's own runs below would build PyO3 anew each time.
export PYO3_BUILD_EXTENSION_MODULE := 1
# ONNX Runtime is not to report to its makers; the Python package says so by itself.
export ORT_DISABLE_TELEMETRY ?= 1
# .cargo/config.toml compiles C++ for x86-64-v3; on other processors the compiler's own default is right.
ifeq ($(filter x86_64 amd64,$(shell uname -m)),)
export CXXFLAGS ?=
endif
# The wheel for every x86-64 processor has other objects, and its version ends in +baseline.
ifdef BASELINE
export CXXFLAGS := -march=x86-64
override CARGO_TARGET_DIR := $(CARGO_TARGET_DIR)/baseline
endif
FILE := $(if $(WINDOWS),plushie_search.dll,libplushie_search.$(if $(filter Darwin,$(shell uname -s)),dylib,so))
LIBRARY := $(CARGO_TARGET_DIR)/release/deps/$(FILE)
CARGO := cargo --locked
# How the build begins to speak: only the first one, which compiles faiss and 300 crates, needs patience.
BUILDING = building plushie_search$(if $(wildcard $(LIBRARY)),,, which takes about ten minutes the first time)
RUST := Cargo.toml Cargo.lock pyproject.toml $(shell find .cargo src -type f)

.PHONY: demo serve build test tests test-torch test-kserve test-beyond lint format bench bench-tools notebooks docs picture wheel sdist check-tag clean audit notices fuzz
.PHONY: soak soak-kill soak-power soak-changes soak-faults soak-damage soak-crowd soak-chaos

demo: $(DONE)/package
	$(BIN)/plushie-search demo demo
	@echo "to go on, enter the environment with: . .venv/bin/activate"

serve: $(DONE)/package $(DONE)/serve-tools
	test -d demo/toys.catalog || $(BIN)/plushie-search demo demo
	$(BIN)/plushie-search serve demo/toys.catalog --open

build: $(DONE)/package

test: lint tests

tests: $(DONE)/package $(DONE)/test-tools
	PLUSHIE_ONNXRUNTIME=$$($(BIN)/python -c 'from plushie_search import hub; print(hub.runtime_library())') \
		$(CARGO) test --release
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-torch: $(DONE)/package $(DONE)/test-tools $(DONE)/torch-tools
	$(BIN)/python -m pytest $$(grep -rlE --include='test_*.py' 'importorskip."(torch|open_clip)"' tests)

test-kserve: $(DONE)/package $(DONE)/test-tools $(DONE)/kserve-tools
	$(BIN)/python -m pytest tests/service/test_kserve.py

test-beyond: $(DONE)/package $(DONE)/test-tools $(DONE)/beyond-tools
	$(BIN)/python -m pytest tests/milvus tests/interop/test_ray.py tests/interop/test_databases.py \
		tests/interop/test_adapters.py

lint: $(DONE)/package $(DONE)/test-tools
	cargo fmt --check
	$(CARGO) clippy --release --all-targets -- -D warnings
	$(CARGO) clippy --release --all-targets --features python -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --release --no-deps
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -c 'import plushie_search' # without it stubtest would find nothing wrong
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml --allowlist tests/stubtest-allowlist.txt \
		plushie_search._core

format: $(DONE)/venv $(DONE)/test-tools
	cargo fmt
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# These need more: python benches/photos.py ITEMS QUERIES; python benches/clip.py WORK, with PyTorch;
# python benches/peers.py, with lancedb, chromadb and qdrant-client;
# python benches/few_shot.py EXAMPLES QUERIES, with scikit-learn; python benches/training.py PHOTOS, with PyTorch;
# python benches/adapt.py PHOTOS;
# python benches/together.py with two options
MORE := benches/adapt.py benches/clip.py benches/few_shot.py benches/milvus.py benches/peers.py benches/photos.py benches/together.py \
	benches/training.py
bench: $(DONE)/package $(DONE)/bench-tools
	set -e; for bench in $(filter-out $(MORE) benches/drawn.py,$(wildcard benches/*.py)); do echo "== $$bench"; $(BIN)/python $$bench; done

bench-tools: $(DONE)/package $(DONE)/bench-tools

soak: soak-kill soak-power soak-changes soak-faults soak-damage soak-crowd soak-chaos

soak-kill: TRIAL := kill
soak-power: TRIAL := power
soak-changes: TRIAL := changes
soak-faults: TRIAL := faults
soak-damage: TRIAL := damage
soak-crowd: TRIAL := crowd
soak-chaos: TRIAL := chaos
# To begin anew, delete the file of progress.
soak-kill soak-power soak-changes soak-faults soak-damage soak-crowd soak-chaos: $(DONE)/package $(DONE)/test-tools
	cd tests && $(BIN)/python -m soak.$(TRIAL) --progress $(VENV)/soak/$(TRIAL).jsonl

notebooks: $(DONE)/package $(DONE)/test-tools
	$(BIN)/python scripts/run_notebook.py --check

# Read without being imported, so that neither the extension nor the packages of extras are needed.
docs: $(DONE)/venv $(DONE)/docs-tools
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

picture: $(DONE)/package $(DONE)/bench-tools
	$(BIN)/python scripts/demo_picture.py docs/demo.jpg docs/demo.json

# Repairing rewrites the library in place, which cargo would then take for what it has built: it gets its own back.
# Repairing also runs patchelf, found on PATH alone. dist/ changes only once its successor has passed.
wheel: $(DONE)/$(if $(BASELINE),venv,package)
	rm -rf $(VENV)/wheel
	$(if $(BASELINE),,cp -a $(LIBRARY) $(LIBRARY).kept)
	trap '$(if $(BASELINE),rm -f $(LIBRARY),mv $(LIBRARY).kept $(LIBRARY))' EXIT; export PATH="$(BIN):$$PATH"; \
		scripts/quietly $(VENV)/wheel.log 'building the wheel' \
		maturin build --release --locked --auditwheel repair --interpreter $(BIN)/python --out $(VENV)/wheel
	$(if $(BASELINE),$(BIN)/python scripts/label-wheel $(VENV)/wheel/*.whl baseline)
	$(PYTHON) scripts/test-wheel $(VENV)/wheel/*.whl
	rm -rf dist
	mv $(VENV)/wheel dist
	@echo "the wheel is in dist: $$(cd dist && ls)"

sdist: $(DONE)/venv
	rm -rf $(VENV)/sdist
	$(BIN)/maturin sdist --out $(VENV)/sdist
	$(PYTHON) scripts/test-wheel $(VENV)/sdist/*.tar.gz
	mkdir -p dist && mv $(VENV)/sdist/*.tar.gz dist

audit: $(DONE)/audit-tools
	PATH="$(BIN):$$PATH" cargo deny --all-features --locked check
	$(BIN)/pip-audit --skip-editable

notices:
	$(PYTHON) scripts/notices

FUZZ_SECONDS ?= 600
fuzz: fuzz-all
fuzz-%: $(DONE)/package $(DONE)/test-tools
	$(BIN)/python tests/hostile/fuzz.py $* --seconds $(FUZZ_SECONDS)

check-tag:
	@[ "$(TAG)" = "v$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)" ] || \
		{ echo "the tag $(TAG) is not the version in Cargo.toml: tag v and that version"; exit 1; }

clean:
	rm -rf $(VENV) target dist demo python/plushie_search/_core.abi3.so

$(DONE)/venv: scripts/install-system-packages
	PYTHON=$(PYTHON) scripts/install-system-packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group build
	mkdir -p $(DONE) && touch $@

$(DONE)/package: $(DONE)/venv $(RUST)
	scripts/quietly $(VENV)/build.log '$(BUILDING)' $(BIN)/maturin develop --release --locked
	touch $@

$(DONE)/%-tools: $(DONE)/venv pyproject.toml
	$(BIN)/python -m pip install --quiet --group $*
	touch $@
