CARGO ?= cargo
PREFIX ?= /usr/local
# The folder that zsh searches differs: Debian's is share/zsh/vendor-completions.
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions
DOCDIR ?= $(PREFIX)/share/doc/x-msrv
PKG_TYPE ?= rpm
target = $(or $(CARGO_TARGET_DIR),target)
lib = $(DESTDIR)$(PREFIX)/lib

# Both packages are built in the same place.
.NOTPARALLEL:

.PHONY: compose help build deb rpm demo test bench fuzz faults soak e2e man install clean

compose: ## Build a package (PKG_TYPE=rpm or deb) in a container, start it with NSQ and Aerospike, wait for a key, stop
	test/compose $(PKG_TYPE)

help: ## Show this
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## Build the release binary
	test/prerequisites build
	$(CARGO) build --release --locked --package x-msrv

deb: ## Build the Debian package into target/packages
	test/prerequisites deb
	deb-spec/build $(target)/packages

rpm: ## Build the rpm and its source into target/packages
	test/prerequisites rpm
	rpm-spec/build $(target)/packages

demo: ## Send the samples through an embedded queue into an embedded store
	test/prerequisites build
	$(CARGO) build --locked
	test/demo

test: ## Run everything that CI runs
	test/prerequisites test
	.ci/test

bench: ## Measure whole runs, into target/bench; RUNS (10) of each; BEFORE=PROGRAM to compare with another build
	test/prerequisites bench
	test/bench $(or $(RUNS),10) $(BEFORE)

fuzz: ## Fuzz the decoders, SECONDS (60) for each target
	test/prerequisites build
	test/fuzz $(or $(SECONDS),60)

faults: ## Run the fault suite against the release build; FACTOR=10 for ten times as many schedules
	test/prerequisites test
	test/faults $(or $(FACTOR),1)

soak: ## Run messages with faults for MINUTES (10), into the store that X_MSRV_TEST_AEROSPIKE names or its stand-in
	test/prerequisites test
	test/faults soak $(or $(MINUTES),10)

e2e: deb rpm ## Test the packages under a booted systemd (root)
	test/prerequisites e2e
	test/e2e/run $(target)/packages

man: ## Rebuild man pages, completions, schema and template of the configuration, and the tables of the documentation
	$(CARGO) xtask

install: ## Install the build of `make build`; PREFIX, DESTDIR
	install -D -m 755 "$(target)/release/x-msrv" "$(DESTDIR)$(PREFIX)/bin/x-msrv"
	install -d "$(lib)/systemd/system" "$(lib)/systemd/system-generators"
	for unit in systemd/*.service systemd/*.timer; do \
		sed 's#/usr/bin/#$(PREFIX)/bin/#' $$unit >"$(lib)/systemd/system/$${unit#systemd/}" || exit; \
		chmod 644 "$(lib)/systemd/system/$${unit#systemd/}"; \
	done
	ln -sf ../../../bin/x-msrv "$(lib)/systemd/system-generators/x-msrv-generator"
	install -D -m 644 systemd/x-msrv.preset "$(lib)/systemd/system-preset/90-x-msrv.preset"
	install -D -m 644 systemd/x-msrv.sysusers "$(lib)/sysusers.d/x-msrv.conf"
	install -D -m 644 systemd/x-msrv.tmpfiles "$(lib)/tmpfiles.d/x-msrv.conf"
	test -e "$(DESTDIR)/etc/x-msrv/x-msrv.yml" || install -D -m 644 etc/x-msrv.yml "$(DESTDIR)/etc/x-msrv/x-msrv.yml"
	for page in man/*.[158]; do install -D -m 644 -t "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}" $$page || exit; done
	install -D -m 644 completions/x-msrv.bash "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/x-msrv"
	install -D -m 644 completions/_x-msrv "$(DESTDIR)$(ZSH_COMPLETIONS)/_x-msrv"
	install -D -m 644 completions/x-msrv.fish "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/x-msrv.fish"
	install -D -m 644 -t "$(DESTDIR)$(DOCDIR)/examples" etc/x-msrv-embedded.yml etc/x-msrv-local.yml
	install -D -m 644 -t "$(DESTDIR)$(DOCDIR)/examples/prometheus" contrib/prometheus/x-msrv.rules.yml
	install -D -m 644 -t "$(DESTDIR)$(DOCDIR)/examples/grafana" contrib/grafana/x-msrv.json
	install -D -m 644 -t "$(DESTDIR)$(PREFIX)/share/x-msrv" etc/x-msrv.schema.json etc/x-msrv.yml

clean: ## Remove all build results
	$(CARGO) clean
