CARGO ?= cargo

.PHONY: help build demo test man clean

help: ## Show this
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## Build the release binary
	test/prerequisites build
	$(CARGO) build --release --locked

demo: ## Send the samples through an embedded queue into an embedded store
	test/prerequisites build
	$(CARGO) build --locked
	test/demo

test: ## Everything that CI runs
	test/prerequisites test
	.ci/test

man: ## Rebuild man pages and completions
	$(CARGO) run --locked --example manual

clean: ## Remove what was built
	$(CARGO) clean
