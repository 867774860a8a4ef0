# One image for both services: docker-compose.yml says which one a container is. docs/guides/docker.md is its guide.
#
# PyTorch comes for CPUs, which keeps the image small. For NVIDIA GPUs leave the variant out, as the service
# `trainer-gpu` of docker-compose.yml does:
#   docker build --build-arg TORCH_BACKEND= --tag flywheel-gpu .
FROM python:3.11-slim

ARG TORCH_BACKEND=cpu
# Further extras, such as `ray`.
ARG EXTRAS=

WORKDIR /flywheel
COPY pyproject.toml README.md LICENSE constraints.txt flywheel.py ./
COPY commands commands
COPY config config
COPY shared shared
COPY labeler labeler
COPY trainer trainer
RUN --mount=type=cache,target=/root/.cache \
    pip install 'uv>=0.8,<1' && \
    UV_LINK_MODE=copy uv pip install --system --compile-bytecode --constraint constraints.txt \
    ${TORCH_BACKEND:+--torch-backend "$TORCH_BACKEND"} ".[all${EXTRAS:+,$EXTRAS}]"

RUN useradd --create-home --uid 1000 flywheel && install --directory --owner flywheel /workspace
USER flywheel
WORKDIR /workspace
VOLUME /workspace
# Pretrained weights are downloaded once and stay in the workspace.
ENV FLYWHEEL_WORKSPACE=/workspace HF_HOME=/workspace/huggingface PYTHONUNBUFFERED=1

EXPOSE 3333 3334
# The port depends on the command of the container: `flywheel trainer`, or else something with a labeler.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import pathlib, urllib.request; trainer = b'trainer' in pathlib.Path('/proc/1/cmdline').read_bytes(); urllib.request.urlopen('http://127.0.0.1:' + ('3333/health' if trainer else '3334/api/health'), timeout=3)"]
CMD ["flywheel", "labeler"]
