# Two commands: `make study` (CONFIG=my.yaml for your own, CONFIG=tiny for a preset, TARGET="table2 figure4" for parts of the
# paper) and `make test`. Both set up .venv first.
# Tables and figures of the paper: `make reproduce-tiny` (minutes, nothing downloaded), `make reproduce-small` (an hour, the
# laptop's model), `make paper-all ARGS=-n` (the paper's four models; leave out ARGS to run). See docs/targets.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
comma := ,

# What a user gives is a text: make expands no $ in it, and the shell gets it as a variable, or in quotes.
override CONFIG := $(value CONFIG)
override TARGET := $(value TARGET)
override PRESET := $(value PRESET)
export CONFIG PRESET
quoted = '$(subst ','\'',$(1))'

PAPER_PRESETS := dclm-7b llama-2-7b llama-2-13b llama-3-8b

ROWS ?= ../shared/realdata/eval
BENCH := reports/benchmarks
COMPRESSOR = $(if $(wildcard .venv-llmcompressor/.ready),--llmcompressor .venv-llmcompressor/bin/python)

.PHONY: bench bench-llmcompressor study test portable-test slurm-test slurm-race-test kills lint smoke reproduce-tiny reproduce-small paper-all lock clean storage-test

study: $(READY)
	@test -z "$$PRESET" || { echo "make study: PRESET is not read; CONFIG=workflow/presets/$$PRESET.yaml is" >&2; exit 2; }
	@$(BIN)/python workflow/study.py $${CONFIG:+"--config=$$CONFIG"} $(foreach name,$(subst $(comma), ,$(TARGET)),--target=$(call quoted,$(name)))

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow and not slurm and not storage and not portable"

# The profile slurm on a one-node Slurm with two pretend GPUs, which the test starts: needs root and the packages slurm-wlm
# and munge, which CALIBRANT_SLURM=1 lets it install. Lists the jobs in reports/slurm-jobs.md.
slurm-test: $(READY)
	$(BIN)/python -m pip install --quiet --requirement envs/requirements-slurm.txt
	CALIBRANT_SLURM_LOG=reports/slurm-jobs.md $(BIN)/python -m pytest -n 0 -m slurm tests/workflow/test_slurm.py

# A race through the same Slurm, round after round: some minutes more, since each job reads the workflow.
slurm-race-test: $(READY)
	$(BIN)/python -m pip install --quiet --requirement envs/requirements-slurm.txt
	$(BIN)/python -m pytest -n 0 -m slurm tests/workflow/test_slurm_race.py

# A study with /proc hidden, as other systems have none, ends with the same files: needs root, skips elsewhere. Minutes.
portable-test: $(READY)
	$(BIN)/python -m pytest -n 0 -m portable tests/workflow/test_without_proc.py

# A small study with its files in a bucket, which a local server plays. Installs more than the study needs.
storage-test: $(READY)
	$(BIN)/python -m pip install --quiet --constraint envs/requirements.txt --requirement envs/requirements-s3.txt
	$(BIN)/python -m pytest -n 0 -m storage tests/workflow/test_storage.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

# The whole workflow on a random model of two layers, in a folder of its own.
smoke: $(READY)
	$(BIN)/python -m pytest -n 0 -m smoke tests/workflow

# A study killed at five random moments ends with the same bytes as one left alone: minutes.
kills: $(READY)
	$(BIN)/python -m pytest -n 0 tests/workflow/test_kills.py

# Every table and figure on a random model of two layers, and on the laptop's model at a small scale.
reproduce-tiny: $(READY)
	@$(BIN)/python workflow/study.py --config workflow/presets/tiny.yaml --target paper

reproduce-small: $(READY)
	@$(BIN)/python workflow/study.py --config workflow/presets/small.yaml --target paper

# Every table and figure for the paper's models, one after the other; ARGS are Snakemake's (-n plans, a cluster's profile).
paper-all: $(READY)
	@for preset in $(PAPER_PRESETS); do \
	  echo "== $$preset"; \
	  $(BIN)/snakemake --cores all paper $(ARGS) --config preset=$$preset || exit 1; \
	done

$(READY): envs/requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Calibrant needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement envs/requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Calibrant beside other tools, all in one run of under 45 minutes, in the number format that auto is here; run nothing else
# meanwhile. ROWS is a folder with rows of published tasks, without which the evaluation's part is left out; MMLU=1 adds
# 5-shot MMLU to it. `make bench-llmcompressor` beforehand adds that tool.
# One set of sizes for all processors. Minutes on two cores with AVX2 in float32 (30 GFLOP/s each), reckoned from trials of
# a few layers, tokens and documents on one thread, line by line: prune 6.5, 2.6, 3.8, 4.8 (with llm-compressor 5.5 and 1
# more in the first two); generate 3, 2.6, 1.7; score 2.3; evaluate 3.2 (MMLU 20). In all 31, with llm-compressor 37.
bench: $(READY)
	$(BIN)/snakemake --cores all --quiet all -- data/smollm2-135m/model data/smollm2-135m/texts/fiction/documents.parquet
	rm -rf $(BENCH)
	$(BIN)/python benchmarks/prune.py --cases wanda-2048 --sequences 2 --repeats 2 --no-check $(COMPRESSOR) --output $(BENCH)
	$(BIN)/python benchmarks/prune.py --cases wanda-512 --sequences 8 --repeats 1 --no-check $(COMPRESSOR) --output $(BENCH)/short
	$(BIN)/python benchmarks/prune.py --cases sublayer-512 sparsegpt-512 --sequences 4 --repeats 1 --no-check --output $(BENCH)/updates
	$(BIN)/python benchmarks/prune.py --cases sublayer-512 --sequences 4 --repeats 1 --output $(BENCH)/masks
	$(BIN)/python benchmarks/generate.py --batches 32 --new 64 --repeats 2 --output $(BENCH)
	$(BIN)/python benchmarks/generate.py --batches 64 --new 32 --repeats 2 --output $(BENCH)/wide
	$(BIN)/python benchmarks/generate.py --batches 128 --new 16 --repeats 1 --output $(BENCH)/wider
	$(BIN)/python benchmarks/score.py --samples 4 --repeats 2 --output $(BENCH)
	@if [ -d $(ROWS) ]; then $(BIN)/python benchmarks/evaluate.py --data $(ROWS) --tasks hellaswag,piqa,arc_easy,arc_challenge \
	  --documents 16 --batch-sizes 1,16 --repeats 1 --output $(BENCH) \
	  $(if $(MMLU),&& $(BIN)/python benchmarks/evaluate.py --data $(ROWS) --tasks mmlu --questions 1 --more 6 \
	    --mmlu-batch-sizes 1 --repeats 1 --output $(BENCH)/mmlu); \
	else echo "evaluation left out: $(ROWS) holds no task rows (make bench ROWS=FOLDER)"; fi
	@cat $(BENCH)/*.md $(BENCH)/*/*.md > $(BENCH)/all.md && echo "Tables and figures: $(BENCH)/all.md"

# llm-compressor, with which benchmarks/prune.py compares, in an environment of its own. PyTorch comes first, the pinned
# version: where only its CPU build is offered, as for .venv, none with CUDA is pulled in.
bench-llmcompressor: .venv-llmcompressor/.ready

.venv-llmcompressor/.ready:
	$(PYTHON) -m venv .venv-llmcompressor
	.venv-llmcompressor/bin/python -m pip install --quiet $$(grep -E '^torch==' envs/requirements.txt)
	.venv-llmcompressor/bin/python -m pip install --quiet llmcompressor==0.14.0.1
	@touch $@

# Renew the pins: installs the newest versions of envs/requirements.in into a fresh environment and writes them down.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --requirement envs/requirements.in
	(echo "# Written by 'make lock' from requirements.in; the one place for versions."; \
	 .venv-lock/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//') > envs/requirements.txt
	rm -rf .venv-lock

# The environments. Results lie in data/STUDY and reports/STUDY, to be removed by hand.
clean:
	rm -rf $(VENV) .venv-llmcompressor
