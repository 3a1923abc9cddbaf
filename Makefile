# Enlace: the commands for working with the checkout. `make` lists them.
# `make run` needs Python 3.11 or newer (tested to 3.13) and make; nothing else.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
# The Python versions on which tests/project/test_interpreters.py tests Enlace.
TESTED := 3.11 3.12 3.13
INSTALL = requirements/install $(PY) $< "$(firstword $(TESTED)) to $(lastword $(TESTED))"
# A stack that uses another broker needs none of its own.
BROKER = [ -n "$$KAFKA_BOOTSTRAP_SERVERS" ] || $(PY) -m local.broker
CODE := $(wildcard chassis keys facts trail runtime local protos services demo bench tests)
# The tests of a file run in one process, so that a module's fixtures are set up once;
# tests/conftest.py sorts the files. There is one process more than a small machine has processors,
# since a fifth of the time is spent waiting; two more processes took longer (20:34, not 19:52).
PYTEST ?= -n 3 --dist loadfile --no-loadscope-reorder
# The tests of `make check`: tests of rules, contracts and pages, which start no database or broker.
QUICK := $(addprefix tests/,referrals/test_lifecycle.py referrals/test_plans.py \
	notifications/test_delivery_rules.py notifications/test_subjects.py \
	notifications/test_rules.py notifications/test_texts.py partners/test_schedules.py \
	chassis/test_shape.py chassis/test_limits.py \
	project/test_docs.py project/test_words.py project/test_contracts.py project/test_safety_page.py)
# A run starts hundreds of processes; with this variable, each would compile all our code again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test verify static compiled check inner hooks lint format types law fresh protos \
	requirements bench budget profile mutate cost soak words tables pictures image release clean \
	system-packages

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

# ARGS="--port 8000 --no-demo --var DIR"
run: $(VENV)/.run ## Run the local stack: everything on this machine, with the demo network
	@exec $(PY) -m services $(ARGS)

test: static ## Run what CI runs: style, types, generated code, all tests except the long ones
ifdef ARGS
	$(PY) -m pytest $(PYTEST) $(ARGS)
else
	rm -rf var/refusals
	$(PY) -m pytest $(PYTEST) -m "not long"
	$(PY) -m tests.refusals
endif

# Also runs long fault tests, fuzzing, simulations, axe on every page, every Python version, and
# docs/operations.md to the letter.
verify: static ## Run everything, at the end of an issue
	rm -rf var/refusals
	$(PY) -m pytest $(PYTEST) -m "not alone"
	@# Names the files, since each process would otherwise import all tests to find the mark.
	$(PY) -m pytest -n 2 --dist loadfile -m alone $$(grep -rl --include='test_*.py' mark.alone tests)
	$(PY) -m tests.refusals

static:
	@$(MAKE) --no-print-directory -j 2 $(VENV)/.dev system-packages
	@$(MAKE) --no-print-directory -j 2 types lint law fresh compiled

# In a fresh checkout, each test process would compile all tests (pytest rewrites their asserts).
# Compiles them once, while mypy uses only one processor.
compiled: $(VENV)/.dev
	@[ -d tests/__pycache__ ] || $(PY) -m pytest --collect-only -qq -p no:xdist >/dev/null || true

# Later changes must not break the stored contract.
release: $(VENV)/.dev ## Set the version of a release (VERSION=0.2.0), and store its contract
	sed -i 's/^version = .*/version = "$(VERSION)"/' pyproject.toml
	sed -i 's/^VERSION = .*/VERSION = "$(VERSION)"/' services/gateway/api/spec.py
	sed -i 's/newTag: .*}/newTag: "$(VERSION)"}/' deploy/k8s/components/version/kustomization.yaml
	$(PY) -m services.gateway openapi > docs/openapi.json
	$(PY) -m protos.generate --release $(VERSION)
	cp docs/openapi.json protos/released/$(VERSION).openapi.json

# ARGS="tests/partners" adds a folder.
check: $(VENV)/.dev ## Run the inner loop, under a minute: style, types, tests without a database
	@$(MAKE) --no-print-directory -j 2 types inner lint law fresh

# One process, because each of several processes would import all the code, which takes longer
# than the tests.
inner: $(VENV)/.dev
	$(PY) -m pytest -q $(if $(ARGS),$(PYTEST)) -m "not long" $(QUICK) $(ARGS)

# (undo: git config --unset core.hooksPath)
hooks: ## Optional: have git check the style at each commit, and run `make check` at each push
	git config core.hooksPath .ci/hooks

lint: $(VENV)/.dev ## Check the style: ruff check, ruff format
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

format: $(VENV)/.dev ## Format the code, and fix the style where ruff can
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

types: $(VENV)/.dev ## Check the types: mypy, strict
	$(VENV)/bin/mypy $(CODE)

law: $(VENV)/.dev ## Check the import rules in pyproject.toml
	$(VENV)/bin/lint-imports

fresh: $(VENV)/.dev ## Check that the generated code matches the .proto files
	$(PY) -m protos.generate --check

protos: $(VENV)/.dev ## Generate the code of the .proto files
	$(PY) -m protos.generate

# ONLY=transition measures one part, ONLY="compare REV" two commits by turns.
bench: $(VENV)/.dev ## Measure the figures on this machine; takes minutes
	$(PY) -m bench $(ONLY)

budget: $(VENV)/.dev ## Count what each step costs in the database, and write it to docs/figures.md
	@$(PY) -m bench.budget

# Draws flame graphs in build/profile (ARGS="--lives 200").
profile: $(VENV)/.dev ## Measure the processor time of a transition by process and thread
	@$(PY) -m bench.profiles $(ARGS)

# Takes hours without a sample: ARGS="--sample 500 --seed 1", ARGS="services/partners/*".
mutate: $(VENV)/.dev ## Change the rules on purpose, and count the changes that no test detects
	@$(PY) -m tests.mutants $(ARGS)

# Reads the trailers `Cost: step|resource|fact`.
cost: $(VENV)/.dev ## Count the files and lines edited by hand for each step, resource and fact
	@$(PY) -m bench.cost

# Then a backlog of 30,000 facts with a paused broker. Takes half an hour.
# ARGS="--transitions N --faults N --backlog N --seed N"
soak: $(VENV)/.dev ## Run 20,000 transitions under 600 faults, and check the result
	@$(PY) -m tests.faults.soak $(ARGS)

words: $(VENV)/.dev ## Update the catalogues from the code; a text without translation is empty
	@$(PY) -m tests.words

tables: $(VENV)/.dev ## Print the tables of the gateway's guide: rights, refusals and their reasons
	@$(PY) -c "from services.gateway.api import tables; \
		print(tables.rights(), tables.refusals(), sep='\n')"

# ARGS="--docs" takes those of the README.
pictures: $(VENV)/.dev ## Take screenshots of every page (phone, desktop, dark, paper)
	@$(PY) -m tests.pictures $(ARGS)

image: ## Build the container image for all services, with the tag that deploy/k8s uses
	docker build --tag "enlace:$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" .

# Installs its own uv; needs Maven for the jars.
requirements: ## Pin the newest versions that requirements/*.in allow
	python3 -m venv build/uv && build/uv/bin/pip install --quiet uv
	@for name in run pkcs11 local dev pythons; do build/uv/bin/uv pip compile --quiet --upgrade \
		--universal --generate-hashes --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --only-binary :all: \
		--custom-compile-command 'make requirements' \
		requirements/$$name.in -o requirements/$$name.txt; done
	@for list in requirements/kafka tests/html/checker; do rm -rf build/jars && mvn -q -B \
		-f $$list.xml -DoutputDirectory=$(CURDIR)/build/jars -DincludeScope=runtime \
		-Dmdep.useRepositoryLayout=true dependency:copy-dependencies && \
		requirements/lock-jars build/jars > $$list.txt; done

clean: ## Delete generated files (the data in var/ stays)
	rm -rf $(VENV) build mutants .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment for everything. It is updated only when the requirements have changed; the
# development requirements include the others.
$(VENV)/.run: requirements/local.txt requirements/kafka.txt | $(VENV)/bin/python
	@echo "Installing what Enlace needs to run (first start, or changed requirements)…"
	@$(INSTALL)
	@$(BROKER)
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/local.txt requirements/kafka.txt
$(VENV)/.dev: | $(VENV)/bin/python
	@echo "Installing the requirements of development…"
	@$(INSTALL)
	@$(BROKER)
	@touch $(VENV)/.run $@

# For tests/project/test_interpreters.py, whose environments take a third of the time of .dev.
$(VENV)/.pythons: requirements/pythons.txt requirements/kafka.txt | $(VENV)/bin/python
	@$(INSTALL)
	@$(BROKER)
	@touch $@

# Uses a tested Python version if there is one; otherwise a newer version, with a warning.
$(VENV)/bin/python:
	@version() { $$1 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }; \
	make_it() { $$1 -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$$1 can't make environments (on Debian: apt-get install python3-venv)" >&2; \
		exit 1; }; exit 0; }; \
	for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
		[[ " $(TESTED) " != *" $$(version $$python) "* ]] || make_it $$python; \
	done; \
	for python in $(or $(PYTHON),python3 python3.14); do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Enlace is tested on Python $(firstword $(TESTED)) to $(lastword $(TESTED)),\
 but this is $$(version $$python)" >&2; make_it $$python; \
		fi; \
	done; echo "Enlace needs Python $(firstword $(TESTED)) or newer;"\
		"$(if $(PYTHON),$(PYTHON) is older or missing,this machine has none) (set PYTHON=… to choose one)" >&2; exit 1

system-packages:
	@bash .ci/packages
