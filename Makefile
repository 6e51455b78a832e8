# Thin lines over the standard tools. The work is in .ci/ (install, build flavours) and in the programs themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help build develop demo demo-check test check debug asan trace fuzz bench soak clean
help:          ## these lines
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1	\2/p' Makefile | expand -t 20

build:         ## the program and its libraries, in .venv
	@PYTHON=$(PYTHON) .ci/build demo
develop:       ## the same with everything that tests and checks need
	@PYTHON=$(PYTHON) .ci/build dev

demo: build    ## try it: edge, connector, a private application and mail, on this machine
	@$(BIN)/sekisho demo
demo-check: build  ## walk the whole path without a person, over TLS; exit status 0 or 1
	@$(BIN)/sekisho demo --check

check: develop ## lint, types, layers
	@.ci/check
test: develop  ## everything: unit, property, end to end in a real browser (as root it installs what is missing)
	@.ci/peers
	$(BIN)/python -m pytest $(TESTS)
soak: develop  ## the rows that `make test` runs at 1/100 of their count, in full
	@.ci/peers
	SEKISHO_SOAK=1 $(BIN)/python -m pytest -m soak $(TESTS)
debug: develop ## the tests on the debug build (reference checks, live-object counters)
	.ci/flavour debug -m pytest $(or $(TESTS),tests/fastpath)
asan: develop  ## the tests of compiled code under AddressSanitizer and UBSan
	.ci/flavour asan -m pytest $(or $(TESTS),tests/fastpath tests/fuzz)
trace: develop ## line coverage of the compiled code
	.ci/flavour trace -m tests.coverage $(TESTS)
fuzz: develop  ## a million executions of each fuzz target under ASan and UBSan
	.ci/flavour asan -m tests.fuzz $(FUZZ)
bench: develop ## every figure of bench/README.md
	@.ci/peers
	$(BIN)/python -m bench all

clean:         ## what was built, not what was installed
	rm -rf build dist *.egg-info _fastpath/*.so _fastpath/*.c artefacts demo-state*
