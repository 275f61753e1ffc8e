# The commands a person types. Everything is installed into .venv, with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
TESTED := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/slurm

.PHONY: run test long cluster faults fuzz check format setup packages pictures constraints clean

run: setup  ## the demo, from simulated cells to a report
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --cores 4 --resources gpu=1

test: setup  ## the tests but those below
	PATH="$(CURDIR)/$(BIN):$$PATH" $(TESTED) -m "not long"

long: setup  ## whole chains and trainings (half an hour)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(TESTED) -m long

cluster: setup  ## the workflow on a real Slurm, brought up on this machine (root; minutes); TESTS chooses some
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest tests/slurm $(TESTS)

faults: setup  ## every broken input through Snakemake, thirty kills, places that fail (minutes)
	PATH="$(CURDIR)/$(BIN):$$PATH" STATELINE_FAULTS=all python -m pytest -n 2 --dist loadfile tests/preflight tests/faults

fuzz: setup  ## many random overrides and trees, here and through Hydra (minutes)
	STATELINE_FUZZ=10000 $(BIN)/python -m pytest -n 2 tests/settings/test_fuzz.py

check: setup  ## format, lint, types, layers, workflow lint, size
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile rules
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint
	$(BIN)/zizmor --offline --quiet --no-progress .github
	$(BIN)/python benchmarks/size.py

format: setup  ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

# A browser for the report, what the challenge's own tool calls, and Slurm: without one, its tests are skipped.
packages:  ## Debian packages that some tests use (root)
	apt-get update -qq
	apt-get install -y -qq chromium zstd slurm-wlm slurm-client munge >/dev/null

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev]'
	touch $@

pictures: run  ## the READMEs' pictures: the demo's report in a browser (chromium)
	for mode in 0:dark 1:light; do chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1080,1560 \
		--blink-settings=preferredColorScheme=$${mode%:*} --screenshot=docs/pictures/report_$${mode#*:}.png \
		file://$(CURDIR)/results/demo/report.html; done

constraints: setup  ## write constraints.txt anew from .venv
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.new
	mv constraints.new constraints.txt

clean:  ## remove what the demo made (not the environment)
	rm -rf results simulated cache
