# The worker and its engine, with libtorch. One build serves both kinds of device; the images differ in the libraries.
#   docker build --file deploy/worker.Dockerfile --target cpu  --tag tutti-worker:0.1.0 .
#   docker build --file deploy/worker.Dockerfile --target cuda --tag tutti-worker:0.1.0-cuda .
FROM rust:1.95-bookworm AS libtorch
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY setup setup
RUN python3 setup/libtorch.py

FROM libtorch AS libtorch-cuda
RUN python3 setup/libtorch.py --cuda

FROM libtorch AS build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package worker --package engine && \
    install -D --target-directory /out target/release/tutti-worker target/release/tutti-engine

# The engine looks for libtorch in ../lib.
FROM debian:bookworm-slim AS base
COPY --from=build /out /opt/tutti/bin
COPY LICENSE-MIT LICENSE-APACHE /opt/tutti/
ENV PATH=/opt/tutti/bin:$PATH HOME=/var/lib/tutti
USER 65532:65532
WORKDIR /var/lib/tutti
ENTRYPOINT ["tutti-worker"]

FROM base AS cuda
COPY --from=libtorch-cuda /src/.libtorch/lib /opt/tutti/lib
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM base AS cpu
COPY --from=libtorch /src/.libtorch/lib /opt/tutti/lib
