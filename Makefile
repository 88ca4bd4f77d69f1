# The two commands: `make serve` and `make test`. Each sets up what it needs; a second run starts in seconds.
# Override by variable or environment: HOST, PORT, WREN_STORE, MODELS, GPU, PYTHON (3.11 or newer). pip's own settings
# (mirror, constraints, PIP_*) apply.

PYTHON ?= python3
HOST ?=
PORT ?=
MODELS ?= whisper-tiny.en moonshine-tiny silero-vad
TEST_MODELS ?= $(MODELS) whisper-base
GPU ?=
TESTS ?=
BENCH ?=
export WREN_STORE ?= .store

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --no-user --quiet
OLD_PYTHON := Wren needs Python 3.11 or newer, and $(PYTHON) is not. Name another: make serve PYTHON=python3.12
NO_VENV := Python could not make .venv. On Debian and Ubuntu: apt install python3-venv. Then run make again.
NO_TORCH := PyTorch cannot be imported as it is: installing it with all that its build asks for.
NO_PINS := A pinned version is not to be had here: installing what the index and your constraints offer instead.

.DEFAULT_GOAL := help
.PHONY: help setup serve models test lint format bench lock sbom audit clean

help:
	@echo 'make serve   set up, then serve on http://$(or $(HOST),$(WREN_HOST),127.0.0.1):$(or $(PORT),$(WREN_PORT),8000)'
	@echo '             with GPU=1 on NVIDIA GPUs: PyTorch for CUDA is installed as well'
	@echo 'make test    set up, then run every test (some: make test TESTS=tests/audio)'
	@echo 'make lint    ruff and mypy'
	@echo 'make bench   the benchmarks (one: make bench BENCH=latency)'
	@echo 'make setup   only what make serve needs: .venv and the models in $(WREN_STORE)'
	@echo 'make sbom    what is shipped, with versions and licences, as CycloneDX in build/sbom.json'
	@echo 'make audit   known vulnerabilities of all that is pinned; fails where an index cannot tell'
	@echo 'make lock    pin the newest dependencies that fit'
	@echo 'make clean   remove .venv and caches; the models stay in $(WREN_STORE)'

setup: models

serve: models
	@exec $(if $(GPU),env WREN_DEVICE="$${WREN_DEVICE:-cuda}") $(BIN)/wren serve $(if $(HOST),--host "$(HOST)") $(if $(PORT),--port "$(PORT)")

models: .venv/.base $(if $(GPU),.venv/.cuda)
	@$(BIN)/wren models pull $(MODELS)
	@$(if $(GPU),for model in $(filter-out silero-vad,$(MODELS)); do \
		test -d "$(WREN_STORE)/$$model/int8-torch" || \
		$(BIN)/wren compress "$$model" -r fp16-torch -r int8-torch || exit 1; done)

test: .venv/.dev
	@$(BIN)/wren models pull $(TEST_MODELS)
	@$(BIN)/python -m pytest $(TESTS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.dev
	@$(BIN)/wren models pull $(TEST_MODELS)
	@$(BIN)/python -m benchmarks $(BENCH)

# A stamp is touched only when its step is done: an interrupted one is taken up again.
.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo '$(OLD_PYTHON)' >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo '$(NO_VENV)' >&2; exit 1; }
	@touch $@

# The lock files are complete, the build back end included, hence --no-deps and --no-build-isolation.
.venv/.base: .venv/.created requirements.lock pyproject.toml
	@echo 'Installing the pinned dependencies into .venv (about a minute the first time)'
	@$(PIP) --no-deps -r requirements.lock || { echo '$(NO_PINS)' >&2; $(PIP) 'setuptools>=77' -e .; }
	@PYTHONWARNINGS=ignore $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.cuda: .venv/.base requirements-cuda.lock
	@echo 'Installing PyTorch for CUDA'
	@$(PIP) --no-deps -r requirements-cuda.lock
	@touch $@

# Where an index offers PyTorch for CUDA alone, its wheel needs libraries that the lock file leaves out.
.venv/.dev: .venv/.base $(if $(GPU),.venv/.cuda) requirements-dev.lock
	@echo 'Installing what the tests and the checks need'
	@$(PIP) --no-deps -r requirements-dev.lock || { echo '$(NO_PINS)' >&2; $(PIP) -e '.[dev]'; }
	@$(BIN)/python -c 'import torch' 2>/dev/null \
		|| { echo '$(NO_TORCH)' >&2; $(PIP) "$$(grep ^torch== requirements-dev.lock)"; }
	@touch $@

# What only the metrics of pytest-audioeval import stays out: Wren takes its recordings, and pesq needs a C compiler.
UNUSED := ^(pesq|httpx-ws|httpx-sse|wsproto)==
FREEZE := build/lock/bin/python -m pip freeze --all --exclude wren-asr
# What PyTorch for CUDA brings along stays out as well, and so does the label of a build without it: any build will do
# for the tests. requirements-cuda.lock asks for the one without a label, which on Linux is that for CUDA.
CUDA := ^(nvidia-|cuda-|triton==)
PINS := import json; [print("%(name)s==%(version)s" % one["metadata"]) \
	for one in json.load(open("build/cuda.json"))["install"]]

lock:
	@$(PYTHON) -m venv --clear build/lock
	@build/lock/bin/python -m pip install --quiet --upgrade pip setuptools -e .
	@{ sed -n '/^#/p' requirements.lock; $(FREEZE); } > build/base.lock
	@for name in otel postgres; do \
		$(PYTHON) -m venv --clear build/extra; \
		build/extra/bin/python -m pip install --quiet --upgrade -c build/base.lock pip setuptools -e ".[$$name]"; \
		{ sed -n '/^#/p' requirements-$$name.lock; build/extra/bin/python -m pip freeze --all --exclude wren-asr \
			| grep -vixFf build/base.lock; } > build/$$name.lock; \
	done
	@build/lock/bin/python -m pip install --quiet -e '.[dev]'
	@{ sed -n '/^#/p' requirements-dev.lock; $(FREEZE) | grep -vxFf build/base.lock | grep -vE '$(UNUSED)|$(CUDA)' \
		| sed '/^torch==/s/+.*//'; } > build/dev.lock
	@build/lock/bin/python -m pip install --quiet --dry-run --ignore-installed --report build/cuda.json \
		-c build/base.lock "$$(sed -n 's/^torch==/torch===/p' build/dev.lock)"
	@{ sed -n '/^#/p' requirements-cuda.lock; build/lock/bin/python -c '$(PINS)' | sed 's/^torch==/torch===/' \
		| grep -vixFf build/base.lock | sort -f; } > build/cuda.lock
	@$(PYTHON) -m venv --clear build/lock
	@build/lock/bin/python -m pip install --quiet cyclonedx-bom pip-audit
	@{ sed -n '/^#/p' requirements-audit.lock; build/lock/bin/python -m pip freeze; } > build/audit.lock
	@for name in base otel postgres dev cuda audit; do mv build/$$name.lock requirements$$([ $$name = base ] || echo -$$name).lock; done

build/audit/.done: requirements-audit.lock
	@$(PYTHON) -m venv --clear build/audit
	@build/audit/bin/python -m pip --disable-pip-version-check install --quiet --no-deps -r requirements-audit.lock
	@touch $@

# Of an environment that has what is shipped and no more: its packages say their licences, a list does not.
sbom: build/audit/.done
	@$(PYTHON) -m venv --clear build/shipped
	@build/shipped/bin/python -m pip --disable-pip-version-check install --quiet --no-deps -r requirements.lock
	@build/audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		-o build/sbom.json build/shipped/bin/python
	@echo build/sbom.json

audit: build/audit/.done
	@failed=0; for name in requirements*.lock; do echo "$$name"; \
		build/audit/bin/pip-audit --strict --no-deps --disable-pip -r "$$name" || failed=1; done; exit $$failed

clean:
	rm -rf .venv .venv-* build .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
