# make demo   segments the sample pair with the starter bundle into demo/
# make run    opens the module in a browser: RUN="--site our-site --port 8000" for options
# make pacs-demo   sends the sample pair as a DICOM study through the node to a PACS on this computer (needs Orthanc)
# make test   checks the code, then runs all tests but the slow ones
# make test-slow   runs the slow ones: whole trainings, the starter bundle, workers that are killed
# make lint   the code checks alone
# make test-slicer SLICER=/path/to/Slicer   runs the module's own test inside 3D Slicer
#
# Each sets up .venv first; all it takes is Python 3.11 or 3.12 and make.
# For a GPU, choose your own build of torch:  make demo TORCH="torch==2.13.0 <options of pip for your build>"

PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)
TORCH ?= torch==2.13.0
PYTEST_ARGS ?=
RUN ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCK := requirements/lock.txt
INSTALLED := .venv/.installed
SAMPLES := CrossModalSeg/Resources/SampleData

.PHONY: demo run pacs-demo bench test test-slow test-slicer lint clean

demo: $(INSTALLED)
	$(BIN)/crossmodalseg segment \
		--input T1w=$(SAMPLES)/phantom_T1w.nrrd --input T2w=$(SAMPLES)/phantom_T2w.nrrd \
		--bundle brain-mr-pair --output demo --overwrite

run: $(INSTALLED)
	$(BIN)/crossmodalseg-web $(RUN)

pacs-demo: $(INSTALLED)
	$(BIN)/python -m scripts.pacs_demo

# The tests of a file share a browser and a server: they stay together.
test: lint
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile $(PYTEST_ARGS)

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile $(PYTEST_ARGS)

# Quiet computer, please: BENCH="--rounds 3" and other options of the benchmark.
bench: $(INSTALLED)
	$(BIN)/python -m Testing.Benchmarks.speed.bench $(BENCH)

# --testing leaves the settings of the user's Slicer alone.
test-slicer:
ifdef SLICER
	"$(SLICER)" --no-splash --no-main-window --testing \
		--additional-module-paths "$(CURDIR)/CrossModalSeg" --python-script "$(CURDIR)/scripts/test_in_slicer.py"
else
	@echo "test-slicer: skipped; give SLICER=/path/to/Slicer to run the module's own test inside 3D Slicer"
endif

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch goes first and by itself: whichever build is chosen stays, and nothing below replaces it.
$(INSTALLED): $(LOCK) pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or 3.12 found: install one or give PYTHON=/path/to/python" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install "setuptools>=77" -c $(LOCK)
	$(PIP) install $(TORCH) -c $(LOCK)
	$(PIP) install --no-deps -r $(LOCK)
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf .venv build demo *.egg-info .mypy_cache .pytest_cache .ruff_cache
