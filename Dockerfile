# Two images with everything that `rlvr-gap` needs, without vLLM:
#
#     docker build --target cpu --tag rlvr-gap:cpu .
#     docker build --target cuda --tag rlvr-gap:cuda .
#     docker run --rm --gpus all --volume "$PWD:/data" rlvr-gap:cuda bench --algo grpo --suite countdown
#
# Runs are written to /data/runs. The CUDA libraries come with torch; the driver and `--gpus` come from the host.

ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm AS base
# gcc: torch compiles small kernels with it. git: records hold the commit of the suite's folder.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc g++ git \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir uv==0.13.9
ENV UV_SYSTEM_PYTHON=1 UV_NO_CACHE=1
WORKDIR /opt/rlvr-gap
COPY requirements.lock constraints.txt ./

FROM base AS cpu
RUN uv pip install --torch-backend cpu --constraints constraints.txt torch \
    && uv pip install --no-deps --requirements requirements.lock
COPY . .
RUN uv pip install --no-deps .
WORKDIR /data
ENTRYPOINT ["rlvr-gap"]

FROM base AS cuda
RUN uv pip install --constraints constraints.txt torch \
    && uv pip install --no-deps --requirements requirements.lock
COPY . .
RUN uv pip install --no-deps .
WORKDIR /data
ENTRYPOINT ["rlvr-gap"]
