# make help lists the targets. Paths are relative, so that a checkout below a path with spaces works.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) >/dev/null 2>&1 && echo $(p))))
VENV := .venv
# checkov pins an old boto3, so that it lives by itself.
CHECKOV := .venv-checkov
SPARK4 := .venv-spark4
# The Python of the function for uploads.
LAMBDA := .venv-lambda
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --no-compile --constraint glue/constraints.txt
DEMO_DIR ?= demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-live test-platforms test-spark4 glue-wheels emr-environment lambda-zip check check-aws fix docs bench clean

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 17

demo: $(VENV)/.run  ## the whole chain on a generated sky, with pictures and a report
	@$(PY) -m astrolake.cli demo --dir "$(DEMO_DIR)"

test: $(VENV)/.dev check  ## checks, then the whole test suite
	@$(PY) -m pytest -p no:cacheprovider -q -n auto --maxprocesses 4 --dist loadfile

test-platforms: $(VENV)/.dev  ## what Glue, EMR and Lambda install, in clean environments (10 minutes)
	@$(PY) -m pytest -p no:cacheprovider -q -m platform -s tests/platforms tests/batch_processing/test_lambda_zip.py

test-spark4: $(SPARK4)/.dev  ## the tests that need Spark, on Spark 4
	@$(SPARK4)/bin/python -m pytest -p no:cacheprovider -q -m spark -n auto --maxprocesses 4 --dist loadfile

test-slow: $(VENV)/.dev  ## longer variants: kills at other moments, wider margins, jobs on a lake in a bucket
	@$(PY) -m pytest -p no:cacheprovider -q -m "slow and not platform" -n auto --maxprocesses 4 --dist loadfile

test-live: $(VENV)/.dev  ## the archives themselves: a small region of every survey, over the internet
	@$(PY) -m pytest -p no:cacheprovider -q -m live tests/data_access

glue-wheels: $(VENV)/.dev  ## dist/astrolake-VERSION.gluewheels.zip for Glue
	@$(PY) glue/pack_wheels.py

emr-environment: $(VENV)/.dev  ## dist/pyspark_astrolake-VERSION.tar.gz for EMR, on this system
	@$(PY) emr/pack_environment.py

lambda-zip: $(LAMBDA)/.ready  ## dist/astrolake-lambda-VERSION.zip for Lambda; needs Python 3.12 and a C compiler
	@$(LAMBDA)/bin/python lambda/pack_zip.py

check: $(VENV)/.dev  ## format, lint, types, import rules, SQL, docs (under a minute)
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy --no-error-summary
	@PYTHONPATH=. $(VENV)/bin/lint-imports --no-logo
	@$(PY) -m sqlfluff lint sql
	@$(PY) docs/make_dictionary.py --check
	@$(PY) cloudformation/make_templates.py --check

check-aws: $(VENV)/.dev $(CHECKOV)/.ready  ## the AWS templates: cfn-lint, checkov, rules of our own
	@$(VENV)/bin/cfn-lint cloudformation/*.yml
	@$(CHECKOV)/bin/checkov --directory cloudformation --framework cloudformation --skip-download --quiet --compact
	@$(PY) cloudformation/make_templates.py --check
	@$(PY) -m pytest -p no:cacheprovider -q tests/cloudformation/test_guard_rules.py

fix: $(VENV)/.dev  ## format and mend what can be mended
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

docs: $(VENV)/.dev  ## write the generated documents and templates
	@$(PY) docs/make_dictionary.py
	@$(PY) cloudformation/make_templates.py

bench: $(VENV)/.dev  ## measure extraction against a bare SEP loop
	@$(PY) benchmarks/extraction.py

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(CHECKOV) $(SPARK4) $(LAMBDA) "$(DEMO_DIR)" build dist lib/*.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "astrolake needs Python 3.11 to 3.13 on PATH" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml glue/constraints.txt | $(VENV)/bin/python
	@echo "installing astrolake into $(VENV) (once)"
	@$(PIP) --editable '.[spark]'
	@touch $@

$(VENV)/.dev: pyproject.toml glue/constraints.txt | $(VENV)/bin/python
	@echo "installing astrolake and its test tools into $(VENV) (once)"
	@$(PIP) --editable '.[dev]'
	@$(PIP) --no-deps pz-rail-base || echo "no pz-rail-base: tests of the COSMOS templates will be skipped" >&2
	@touch $@ $(VENV)/.run

$(CHECKOV)/.ready: | $(VENV)/bin/python
	@echo "installing checkov into $(CHECKOV) (once)"
	@$(VENV)/bin/python -m venv $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip --disable-pip-version-check install --quiet 'checkov>=3.2,<4'
	@touch $@

# The same versions of all but Spark.
$(SPARK4)/.dev: pyproject.toml glue/constraints.txt | $(VENV)/bin/python
	@echo "installing astrolake and Spark 4 into $(SPARK4) (once)"
	@$(PYTHON) -m venv $(SPARK4)
	@sed 's/^pyspark==.*/pyspark==4.0.2/' glue/constraints.txt > $(SPARK4)/constraints.txt
	@$(SPARK4)/bin/python -m pip --disable-pip-version-check install --quiet --constraint $(SPARK4)/constraints.txt --editable '.[dev]'
	@$(SPARK4)/bin/python -m pip --disable-pip-version-check install --quiet --constraint $(SPARK4)/constraints.txt --no-deps pz-rail-base
	@touch $@

$(LAMBDA)/.ready: pyproject.toml glue/constraints.txt
	@command -v python3.12 >/dev/null || { echo "the function for uploads needs Python 3.12 on PATH" >&2; exit 1; }
	@python3.12 -m venv $(LAMBDA)
	@$(LAMBDA)/bin/python -m pip --disable-pip-version-check install --quiet --constraint glue/constraints.txt setuptools --editable .
	@touch $@
