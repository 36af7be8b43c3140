# The service with ONNX Runtime for NVIDIA GPUs and what InsightFace's detectors need.
# docker build -f docker/gpu.Dockerfile -t photo2cartoon-gpu .
# docker run --gpus all -p 8000:8000 photo2cartoon-gpu
# docker run --gpus all photo2cartoon-gpu doctor
# With InsightFace's detector (docs/insightface.md; the image holds no model of theirs):
# docker run --gpus all -p 8000:8000 -v /models/buffalo_l:/pack:ro -e P2C_DETECTOR=insightface \
#   -e P2C_INSIGHTFACE_PACK=/pack photo2cartoon-gpu
# docs/gpu.md says what it checks, what it can be told and what to look at.
#
# CUDA 13 and cuDNN 9 come as wheels, so a slim base will do. The machine brings the NVIDIA driver,
# R580 or newer (the first one for CUDA 13), and the NVIDIA container toolkit.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# Another index and its certificate: given at build time, gone with this stage.
ARG PIP_INDEX_URL
ARG PIP_CERT
COPY requirements/gpu.txt requirements/insightface.txt /build/
# insightface asks for onnxruntime and opencv-python, whose files would overwrite those of onnxruntime-gpu
# and opencv-python-headless: it comes without what it asks for, which gpu.txt holds.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv install --no-cache-dir --require-hashes -r /build/gpu.txt \
    && python -m pip --python /opt/venv install --no-cache-dir --require-hashes --no-deps -r /build/insightface.txt
# Exactly one ONNX Runtime, and the one that knows CUDA, and insightface with all that it needs; or there
# is no image.
RUN ["/opt/venv/bin/python", "-c", "\
from importlib.metadata import distributions as all; import insightface, onnxruntime; \
found = {d.name for d in all()} & {'onnxruntime', 'onnxruntime-gpu'}; \
assert found == {'onnxruntime-gpu'}, found; \
assert 'CUDAExecutionProvider' in onnxruntime.get_available_providers()"]

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
# P2C_PROVIDER: this image is for GPUs; without one it says so and ends. P2C_GENERATOR: the whole network.
# NVIDIA_*: the container toolkit mounts the driver's compute libraries, and refuses to start the
# container where the driver is too old.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_REQUIRE_CUDA="cuda>=13.0" \
    P2C_PROVIDER=cuda \
    P2C_GENERATOR=photo2cartoon \
    P2C_HOST=0.0.0.0
USER 10001:10001
# The first run as that user: every model is here, whole, and readable.
RUN ["photo2cartoon", "models", "verify"]
EXPOSE 8000
# No curl in a slim image, and none needed. The first start on a GPU takes longer.
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["photo2cartoon"]
CMD ["serve"]
