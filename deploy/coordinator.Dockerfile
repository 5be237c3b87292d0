# The coordinator and the `tutti` command, without libtorch.
#   docker build --file deploy/coordinator.Dockerfile --tag tutti-coordinator:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package coordinator --package cli && \
    install -D --target-directory /out target/release/tutti-coordinator target/release/tutti

FROM debian:bookworm-slim
COPY --from=build /out /opt/tutti/bin
COPY LICENSE-MIT LICENSE-APACHE /opt/tutti/
ENV PATH=/opt/tutti/bin:$PATH
USER 65532:65532
WORKDIR /var/lib/tutti
EXPOSE 7400
ENTRYPOINT ["tutti-coordinator"]
