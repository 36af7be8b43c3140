# The service on the CPU. docker build -t photo2cartoon . && docker run -p 8000:8000 photo2cartoon
# For amd64 and arm64 (`make lock-fits-arm64`). To pin the base, give its digest:
# --build-arg BASE=python:3.11-slim-bookworm@sha256:... (docker buildx imagetools inspect prints it).
# With what folders in object storage need: --build-arg LOCK=objects; on Ray: --build-arg LOCK=ray-cluster.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# Another index and its certificate: given at build time, gone with this stage.
ARG PIP_INDEX_URL
ARG PIP_CERT
ARG LOCK=cpu
COPY requirements/${LOCK}.txt requirements/openvino.txt /build/
# A virtual environment is one folder to copy: pip and its cache stay behind.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv install --no-cache-dir --require-hashes -r "/build/${LOCK}.txt" \
    && python -m pip --python /opt/venv install --no-cache-dir --require-hashes --no-deps -r /build/openvino.txt

# The package itself, as a wheel: setuptools works in an environment of its own, which stays behind.
COPY requirements/build.txt /build/build.txt
COPY pyproject.toml README.md LICENSE NOTICE /build/source/
COPY app /build/source/app
COPY models /build/source/models
RUN python -m venv /build/venv \
    && /build/venv/bin/pip install --no-cache-dir --require-hashes -r /build/build.txt \
    && /build/venv/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /build /build/source \
    && python -m pip --python /opt/venv install --no-cache-dir --no-deps /build/photo2cartoon-*.whl

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
# MALLOC_ARENA_MAX: glibc would keep the largest picture of every thread for ever.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    P2C_HOST=0.0.0.0
USER 10001:10001
# The first run as that user: every model is here, whole, and readable.
RUN ["photo2cartoon", "models", "verify"]
EXPOSE 8000
# No curl in a slim image, and none needed.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["photo2cartoon"]
CMD ["serve"]
