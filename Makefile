# The project's verbs. `make serve` and `make test` need nothing but Python >= 3.11.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCK := pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links
SERVE_LOCKS := requirements/build.txt requirements/cpu.txt
DEV_LOCKS := $(SERVE_LOCKS) requirements/dev.txt requirements/signing.txt
SERVE_NO_DEPS := requirements/openvino.txt
NO_DEPS := requirements/insightface.txt
TRAIN_LOCKS := $(DEV_LOCKS) requirements/train.txt requirements/nodeps.txt
OPS_LOCKS := $(DEV_LOCKS) requirements/ops.txt
TORCH ?= torch==2.13.0
# One process a core, at most four: each loads the models. A process without work takes over another's tests.
PARALLEL := -n auto --maxprocesses=4 --dist=worksteal
# Browsers, Prometheus, nginx and Ray beside each other: a file's tests share what it has started.
PARALLEL_OPS := -n auto --maxprocesses=2 --dist=loadfile
COVER :=
SBOM := out/sbom
MINUTES := 60
MONITORING := k8s/components/monitoring

.PHONY: install install-train check format serve test test-package test-train test-ops test-image docs rules verify-models lock sbom soak clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python >= 3.11 is needed; call make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# A stamp per set of packages: installing again happens only when a lock file changed.
$(VENV)/serve.stamp: $(SERVE_LOCKS) $(SERVE_NO_DEPS) pyproject.toml | $(BIN)/python
	@echo "Installing what the service needs into $(VENV); this happens once and may take some minutes"
	@echo "  1 of 3: the locked packages (ONNX Runtime, OpenCV, FastAPI and others)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes $(SERVE_LOCKS:%=-r %)
	@echo "  2 of 3: OpenVINO"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(SERVE_NO_DEPS)
	@echo "  3 of 3: photo2cartoon itself, as an editable package"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# insightface asks for packages that would overwrite ours: requirements/insightface.in.
$(VENV)/dev.stamp: $(DEV_LOCKS) $(NO_DEPS) $(VENV)/serve.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes $(DEV_LOCKS:%=-r %)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(NO_DEPS)
	@touch $@

install: $(VENV)/dev.stamp

serve: $(VENV)/serve.stamp
	$(BIN)/photo2cartoon serve

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# COVER=--cov measures coverage too and fails below the floor in pyproject.toml.
test: $(VENV)/dev.stamp
	$(BIN)/pytest $(PARALLEL) $(COVER)

# Builds the wheel and installs it beside another project's packages `app` and `models`.
test-package: $(VENV)/dev.stamp
	$(BIN)/pytest tests/package

# torch comes first and unhashed: which wheel fits depends on the machine (CPU, CUDA).
$(VENV)/train.stamp: $(TRAIN_LOCKS) $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-build-isolation --requirement requirements/train.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements/nodeps.txt
	@touch $@

install-train: $(VENV)/train.stamp

test-train: install-train
	$(BIN)/python -c 'import torch'
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PARALLEL) tests/train

$(VENV)/ops.stamp: $(OPS_LOCKS) $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/ops.txt
	@touch $@

$(VENV)/docs.stamp: requirements/docs.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# axe-core, which judges the page (tests/ops/test_page_access.py), and what the documentation's search needs.
$(VENV)/npm.stamp: requirements/npm/package-lock.json | $(BIN)/python
	mkdir -p $(VENV)/npm
	cp requirements/npm/package.json requirements/npm/package-lock.json $(VENV)/npm
	npm ci --prefix $(VENV)/npm --ignore-scripts --no-audit --no-fund --silent
	@touch $@

# Clients that others wrote, whose dependencies are not ours: tests/ops/test_clients.py.
.venv-clients/stamp: requirements/clients.txt | $(BIN)/python
	$(BIN)/python -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# Ray, an S3 server and what else the test of `bulk --engine ray` needs: tests/ops/test_ray.py.
.venv-ray/stamp: requirements/ray.txt | $(BIN)/python
	$(BIN)/python -m venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# Needs Debian's packages prometheus, nginx-light, chromium and npm beside the wheels.
test-ops: $(VENV)/ops.stamp $(VENV)/docs.stamp $(VENV)/npm.stamp .venv-clients/stamp .venv-ray/stamp
	$(BIN)/pytest $(PARALLEL_OPS) tests/ops

# Needs root, and Debian's packages buildah and debootstrap.
test-image:
	docker/prove.sh

# Needs npm beside the wheels. The pages can be opened from the disk, without a network.
docs: $(VENV)/docs.stamp $(VENV)/npm.stamp
	PATH="$(abspath $(BIN)):$$PATH" .ci/docs site $(VENV)/npm/node_modules
	@echo "Open site/index.html in a browser."

# What a release must pass; writes the wheel to dist/. .ci/release says what ADDRESS is for.
release-check: $(VENV)/dev.stamp
	.ci/release $(BIN)/python

# Puts the plain rules into the object that the Prometheus Operator takes.
rules:
	{ sed '/^spec:/q' $(MONITORING)/prometheusrule.yaml; sed 's/./  &/' $(MONITORING)/rules.yaml; } > $(MONITORING)/rules.part
	mv $(MONITORING)/rules.part $(MONITORING)/prometheusrule.yaml

# Downloads the pinned wheel (it is never installed), converts its networks again and compares bit for bit.
verify-models: $(VENV)/dev.stamp
	$(BIN)/python -m photo2cartoon_models.mediapipe.verify

lock:
	$(LOCK) --output-file=requirements/build.txt requirements/build.in
	$(LOCK) --extra=cpu --extra=otel --output-file=requirements/cpu.txt pyproject.toml
	$(LOCK) --extra=cpu --extra=otel --extra=insightface --extra=dev --constraint=requirements/cpu.txt --output-file=requirements/dev.txt pyproject.toml
	$(LOCK) --extra=cpu --extra=otel --extra=objects --constraint=requirements/cpu.txt --constraint=requirements/dev.txt --output-file=requirements/objects.txt pyproject.toml
	$(LOCK) --extra=cpu --extra=otel --extra=objects --constraint=requirements/objects.txt --output-file=requirements/ray-cluster.txt pyproject.toml requirements/ray-cluster.in
	$(LOCK) --extra=gpu --extra=insightface --extra=otel --constraint=requirements/cpu.txt --output-file=requirements/gpu.txt pyproject.toml
	$(LOCK) --extra=cpu --extra=otel --extra=ops --constraint=requirements/dev.txt --output-file=requirements/ops.txt pyproject.toml
	$(LOCK) --extra=cpu --extra=otel --extra=train-locked --constraint=requirements/dev.txt --output-file=requirements/train.txt pyproject.toml
	$(LOCK) --output-file=requirements/signing.txt requirements/signing.in
	$(LOCK) --output-file=requirements/clients.txt requirements/clients.in
	$(LOCK) --extra=cpu --extra=objects --extra=ray --constraint=requirements/dev.txt --output-file=requirements/ray.txt pyproject.toml requirements/ray.in
	$(LOCK) --constraint=requirements/ops.txt --constraint=requirements/train.txt --output-file=requirements/docs.txt requirements/docs.in
	$(LOCK) --no-header --no-annotate --output-file=- requirements/nodeps.in \
		| awk '/^[^ ]/ { keep = /^(efficientnet-lite-pytorch|lightning-fabric)==/ } keep' > requirements/nodeps.txt
	$(LOCK) --no-header --no-annotate --output-file=- requirements/insightface.in \
		| awk '/^[^ ]/ { keep = /^insightface==/ } keep' > requirements/insightface.txt
	$(LOCK) --no-header --no-annotate --output-file=- requirements/openvino.in \
		| awk '/^[^ ]/ { keep = /^openvino==/ } keep' > requirements/openvino.txt

# Bills of materials, CycloneDX 1.6: what each image and the training environment are made of.
sbom:
	mkdir -p $(SBOM)
	$(PYTHON) requirements/sbom.py $(SERVE_LOCKS) $(SERVE_NO_DEPS) > $(SBOM)/cpu.cdx.json
	$(PYTHON) requirements/sbom.py requirements/build.txt requirements/gpu.txt $(NO_DEPS) > $(SBOM)/gpu.cdx.json
	$(PYTHON) requirements/sbom.py $(TRAIN_LOCKS) > $(SBOM)/train.cdx.json

# Everything that callers do, for an hour; one table of verdicts, and exit code 1 if one of them is bad.
soak: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.serving.soak --minutes $(MINUTES)

# Downloads what the image for arm64 installs, 93 MB: every package has a wheel for it, with a hash in the lock.
lock-fits-arm64: | $(BIN)/python
	mkdir -p .cache/arm64
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --require-hashes --only-binary=:all: \
		--python-version 3.11 --implementation cp --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
		--platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 --dest .cache/arm64 -r requirements/cpu.txt

clean:
	rm -rf $(VENV) .venv-clients .venv-ray site .cache .mypy_cache .ruff_cache .pytest_cache *.egg-info
