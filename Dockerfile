# One image for both services: docker-compose.yml says which one a container is.
#
# PyTorch comes with CUDA by default. For the much smaller CPU builds, give the index that pytorch.org names for them:
#   docker compose build --build-arg EXTRA_INDEX_URL=…
FROM python:3.11-slim

ARG EXTRA_INDEX_URL=""

WORKDIR /flywheel
COPY pyproject.toml README.md LICENSE constraints.txt flywheel.py ./
COPY commands commands
COPY config config
COPY shared shared
COPY labeler labeler
COPY trainer trainer
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt ${EXTRA_INDEX_URL:+--extra-index-url "$EXTRA_INDEX_URL"} '.[all]'

RUN useradd --create-home --uid 1000 flywheel && install --directory --owner flywheel /workspace
USER flywheel
WORKDIR /workspace
VOLUME /workspace
# Pretrained weights are fetched once and stay with the workspace.
ENV HF_HOME=/workspace/huggingface PYTHONUNBUFFERED=1

EXPOSE 3333 3334
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3334/api/health', timeout=3)"]
CMD ["flywheel", "labeler"]
