# ROCM Studio on port 7860: the whole app, or with --target vote a server for raters alone, without
# torch and Gradio. The app has CPU wheels by default; for CUDA:
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t rocm-studio .
FROM python:3.12-slim-trixie AS base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# The page is the parent of detached trainers: tini reaps them and passes signals on.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 user \
    && install -d -o user -g user /data

USER 1000
ENV HOME=/home/user \
    PATH=/home/user/.local/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ROCM_HOME=/data \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860
WORKDIR /home/user/app

VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=4)"]

ENTRYPOINT ["tini", "--"]


FROM base AS vote

COPY --chown=user requirements-vote.txt ./
RUN pip install --no-cache-dir --user -r requirements-vote.txt

COPY --chown=user app.py LICENSE NOTICE ./
COPY --chown=user assets/vote ./assets/vote
COPY --chown=user rocm ./rocm

CMD ["python", "app.py", "--mode", "study"]


# The last target is built if none is named.
FROM base AS studio

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV HF_HOME=/home/user/.cache/huggingface \
    GRADIO_ANALYTICS_ENABLED=False

COPY --chown=user requirements.txt ./
RUN pip install --no-cache-dir --user --extra-index-url "$TORCH_INDEX" -r requirements.txt

COPY --chown=user app.py LICENSE NOTICE ./
COPY --chown=user assets ./assets
COPY --chown=user presets ./presets
COPY --chown=user rocm ./rocm

CMD ["python", "app.py"]
