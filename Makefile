PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test lint extras stack-local stack-aws stack-aws-delete aws-servers aws-up aws-down requirements clean

train: .venv/train.done  ## set everything up and run the main job on the embedded demo data
	$(BIN)/python run.py --training

test: .venv/dev.done lint  ## set everything up and pass the tests
	$(BIN)/python -m pytest --numprocesses 2

lint: .venv/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

extras: .venv/extras.done  ## networks of KerasHub and datasets on Kaggle

stack-local: .venv/train.done  ## register and use the stack of this machine, as the first run does by itself
	$(BIN)/python -m stacks.local

stack-aws: .venv/aws.done  ## register the AWS stacks from stacks/aws/values.yaml, once everything in it answers
	$(BIN)/python -m stacks.aws

stack-aws-delete: .venv/aws.done  ## take these stacks out of ZenML again; AWS itself is untouched
	$(BIN)/python -m stacks.aws --delete

aws-servers:  ## Terraform: a ZenML server and MLflow on AWS, for those who have none
	stacks/aws/infrastructure.sh servers

aws-up:  ## Terraform: bucket, registry and roles, and stacks/aws/values.yaml
	stacks/aws/infrastructure.sh up

aws-down:  ## Terraform: everything away but the buckets (with PURGE=1 these too)
	stacks/aws/infrastructure.sh down $(if $(PURGE),--purge)

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, for example: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/train.done: requirements/train.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/train.txt
	touch $@

.venv/aws.done: requirements/aws.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/aws.txt
	touch $@ .venv/train.done

.venv/extras.done: requirements/extras.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/extras.txt
	touch $@ .venv/train.done .venv/aws.done

.venv/dev.done: requirements/dev.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/dev.txt
	touch $@ .venv/train.done .venv/aws.done .venv/extras.done

requirements:  ## compile the pinned files anew from the ranges in pyproject.toml; aws.txt is the narrowest, so the others follow it
	$(COMPILE) --extra train --extra aws --output-file requirements/aws.txt
	$(COMPILE) --extra train --constraint requirements/aws.txt --output-file requirements/train.txt
	$(COMPILE) --extra serve --constraint requirements/aws.txt --output-file requirements/serve.txt
	$(COMPILE) --extra pipelines --extra aws --extra cpu --constraint requirements/aws.txt --output-file requirements/steps-cpu.txt
	$(COMPILE) --extra pipelines --extra aws --extra gpu --constraint requirements/aws.txt --output-file requirements/steps-gpu.txt
	$(COMPILE) --extra train --extra aws --extra hub --extra kaggle --constraint requirements/aws.txt --output-file requirements/extras.txt
	$(COMPILE) --extra train --extra serve --extra aws --extra hub --extra kaggle --extra dev --constraint requirements/aws.txt --constraint requirements/serve.txt --output-file requirements/dev.txt

COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --quiet

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
