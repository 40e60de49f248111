# Two commands on a fresh machine: `make demo` and `make test`. Both install what is missing (as root,
# by apt), say what they do, and work twice in a row. Rust comes from rustup, pinned in rust-toolchain.toml.

.DEFAULT_GOAL := help
.PHONY: help demo test lint needed

CARGO ?= cargo
# Where the lab's tests keep their databases and logs: in memory where it has room, since what they ask is
# not how fast a disk is, and one that stands still for two seconds is a failover more.
SCRATCH ?= $(shell if [ "$$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -ge 6291456 ] 2>/dev/null; \
	then echo /dev/shm; else echo "$${TMPDIR:-/tmp}"; fi)
# Further words for the demo: `make demo ARGS='--fault cut-site --runs 10'`.
ARGS ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: needed ## bring up two datacentres on this machine, kill one, show that nothing was lost
	@echo '== building twofold (the first time takes some minutes)'
	$(CARGO) run --release --locked -p twofold -- lab demo $(ARGS)

# Tests of the lab put namespaces and databases on this one machine, so they run one at a time.
test: needed ## run all tests, as CI does
	$(CARGO) fmt --all --check
	$(CARGO) test --locked --workspace --exclude chaos-lab --exclude twofold
	TMPDIR='$(SCRATCH)' $(CARGO) test --locked -p chaos-lab -p twofold -- --test-threads=1

lint: needed ## formatting, clippy, licences and bans (the last where cargo-deny is installed)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked -p model --test architecture -- --nocapture
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		echo '$(CARGO) deny check licenses bans sources'; $(CARGO) deny check licenses bans sources; \
	else \
		echo 'skipped: licences, bans and sources, since cargo-deny is not installed'; \
	fi

# A command or file, and the Debian package that brings it. The lab fetches MySQL and HAProxy itself.
needed:
	@command -v $(CARGO) >/dev/null 2>&1 || { \
		echo 'Rust is missing: install rustup (https://rustup.rs), then run make again' >&2; exit 1; }
	@PATH="$$PATH:/usr/sbin:/sbin"; missing=''; \
	need() { command -v "$$1" >/dev/null 2>&1 || [ -e "$$1" ] || missing="$$missing $$2"; }; \
	need cc gcc; \
	need /usr/include/stdio.h libc6-dev; \
	need ip iproute2; \
	need nft nftables; \
	need ps procps; \
	need dig bind9-dnsutils; \
	need dpkg-deb dpkg; \
	need systemd-analyze systemd; \
	python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$$missing python3-venv"; \
	need /etc/ssl/certs/ca-certificates.crt ca-certificates; \
	need /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring; \
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null 2>&1; then \
		echo "missing, and there is no apt-get here; install what corresponds to:$$missing" >&2; exit 1; \
	fi; \
	if [ "$$(id -u)" -ne 0 ]; then \
		echo "missing; run as root, or install them first: apt-get install$$missing" >&2; exit 1; \
	fi; \
	echo "== installing$$missing"; \
	apt-get -qq update && \
	DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y $$missing >/dev/null
