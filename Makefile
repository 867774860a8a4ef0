# `make run` and `make test` only need Python 3.11 or newer. ARGS is passed to the command:
#   make run ARGS="PHOTOS --classes shirt,shoes,hat"      make test ARGS="tests/shared -x"

.PHONY: run test check lint types format docs site screenshots up

run:
	@scripts/install
	.venv/bin/flywheel up $(ARGS)

test:
	@scripts/install dev
	@scripts/browser
	.venv/bin/pytest $(ARGS)

check: lint types

lint:
	@scripts/install dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	@scripts/js

types:
	@scripts/install dev
	.venv/bin/mypy $(if $(CI),--cache-dir=/dev/null) shared labeler trainer commands flywheel.py tests benchmarks

format:
	@scripts/install dev
	.venv/bin/ruff check --fix
	.venv/bin/ruff format
	@scripts/js --write

docs:
	@scripts/install dev
	.venv/bin/python scripts/docs.py

# The documents as a site, built without a network: open build/site/index.html
site:
	@scripts/install docs
	.venv/bin/zensical build --strict

screenshots:
	@scripts/install dev
	@scripts/browser
	.venv/bin/python scripts/screenshots.py

# Both services in containers: make up PHOTOS=/path/to/photos (add GPU=1 if the trainer has a GPU)
up:
	@scripts/token
	docker compose up --build --detach $(if $(GPU),labeler trainer-gpu)
