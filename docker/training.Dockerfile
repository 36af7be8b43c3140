# Training on NVIDIA GPUs, or without one. docker build -f docker/training.Dockerfile -t photo2cartoon-training .
# TORCH_INDEX: the wheel index of another CUDA version, as torch's own installation page lists them.
# ALSO: objects for shards in a store, ray-cluster for these and k8s/training/rayjob.yaml.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=
ARG ALSO=
COPY requirements /build
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r /build/build.txt \
    && /opt/venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url ${TORCH_INDEX}} "${TORCH}" \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-build-isolation -r /build/train.txt \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r /build/nodeps.txt \
    && if [ -n "${ALSO}" ]; then /opt/venv/bin/pip install --no-cache-dir --require-hashes -r "/build/${ALSO}.txt"; fi
COPY pyproject.toml README.md LICENSE NOTICE /build/source/
COPY app /build/source/app
COPY models /build/source/models
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation /build/source
WORKDIR /srv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
ENTRYPOINT ["torchrun"]
