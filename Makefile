# `make demo` and `make test` are the two commands; each does all set-up by itself, once.
.DELETE_ON_ERROR:
.PHONY: help demo test setup build check-deploy bench prerequisites

PROGRAMS := target/release
DEMO     := .tutti/demo
# bfloat16 halves the demo's time where the processor computes in it, and is slow where it does not.
PRECISION := $(shell grep -qwE 'amx_bf16|avx512_bf16' /proc/cpuinfo && echo bf16 || echo f32)

help:
	@echo 'make demo    train, average and ask an ensemble on Fashion-MNIST, on this machine'
	@echo 'make test    formatting, lints, every test, the Kubernetes manifests'
	@echo 'make setup   only fetch libtorch and Fashion-MNIST'
	@echo 'make build   only build the programs, into $(PROGRAMS)'
	@echo 'make bench   the benchmarks'

demo: build
	@$(PROGRAMS)/tutti up --fresh --data-dir $(DEMO) --run deploy/jobs/fashion-mnist.yaml \
		--set train.precision=$(PRECISION) --predict 10

test: setup
	@cargo fmt --all --check
	@cargo clippy --release --workspace --all-targets --quiet -- -D warnings
	@cargo build --release --workspace --bins --quiet
	@cargo test --release --workspace --quiet
	@deploy/check

build: setup
	@cargo build --release --workspace --bins

setup: prerequisites
	@python3 setup/libtorch.py
	@python3 setup/fashion_mnist.py

check-deploy:
	@deploy/check

bench: setup
	@cargo bench --profile release --workspace --bench '*'

prerequisites:
	@command -v cargo >/dev/null || { echo 'cargo is missing; install Rust with rustup (the toolchain is pinned in rust-toolchain.toml)' >&2; exit 1; }
	@command -v c++ >/dev/null || { echo 'a C++ compiler is missing; on Debian: apt-get install g++' >&2; exit 1; }
	@python3 -m pip --version >/dev/null 2>&1 || { echo 'Python 3 with pip is missing; on Debian: apt-get install python3-pip' >&2; exit 1; }
