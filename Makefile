# Two commands are enough: `make run` starts Gatespan, `make test` tests it. Both install what is
# missing, build, say what they do and never ask. The building itself is meson's and ninja's.

FUZZ_SECONDS ?= 20
ARGS ?=
STEPS ?=

.DEFAULT_GOAL := build
.PHONY: help build run test bench check check-full fuzz sanitize install deb clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "make %-12s %s\n", $$1, $$2 }'

build: ## build build/gatespan
	@tools/deps build
	@tools/configure meson
	@ninja -C build/meson -n src/cli/gatespan | grep -q 'no work to do' || echo "build: compiling (the first time takes a minute or two)"
	@ninja -C build/meson --quiet src/cli/gatespan
	@ln -sfn meson/src/cli/gatespan build/gatespan
	@echo "built build/gatespan"

run: build ## build and start the gateway; options: make run ARGS="--listen 127.0.0.1:9000"
	@exec build/gatespan serve $(ARGS)

test: build ## build and run the unit and integration tests
	@tools/deps test
	@tools/test unit meson
	@tools/test integration meson

bench: build ## measure against nginx, a bare forwarder and the upstream itself
	@tools/deps bench
	@ninja -C build/meson --quiet
	@bench/run --build build/meson --gatespan build/gatespan $(ARGS)

check: build ## layout, layers, warnings of gcc and clang, generated reference
	@tools/deps test check
	@tools/check

check-full: build ## clang-tidy, gcc -fanalyzer, thread sanitizer, Valgrind (slow); some: make check-full STEPS="tidy tsan"
	@tools/deps test check full
	@tools/check-full $(STEPS)

fuzz: ## run every fuzz target for FUZZ_SECONDS (20)
	@tools/deps build fuzz
	@tools/fuzz $(FUZZ_SECONDS)

sanitize: ## unit and integration tests under the address and undefined behaviour sanitizers
	@tools/deps build test
	@tools/test unit asan
	@tools/test integration asan

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc

install: ## build for and install into DESTDIR, PREFIX (/usr/local), SYSCONFDIR (/etc)
	@tools/deps build
	@tools/install "$(DESTDIR)" "$(PREFIX)" "$(SYSCONFDIR)"

deb: ## make the Debian package, in build/deb
	@tools/deps build package
	@tools/deb

clean: ## remove everything that was built, not what was downloaded
	@find build -mindepth 1 -maxdepth 1 ! -name deps ! -name 'venv*' -exec rm -rf {} + 2>/dev/null || true
