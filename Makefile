# SPDX-License-Identifier: GPL-2.0
# The front door. Each target is a script, which says at its head what it does.

help:
	@sed -n 's/^#: //p' Makefile

#: make run           two domains on Xen without and with tmem: what it saves
#:                    (BACKEND=ram: a guest without Xen)
#: make test          the tests below; ends in a line "N passed, N failed"
#: make test-all      with those that make test has no time for: several
#:                    domains, an hour of torture
run:
	@scripts/run $(BACKEND)
test:
	@scripts/test
test-all:
	@scripts/test --all

#: make check         static checks: patches, style, sparse, documentation
#: make test-engine   the engine in user space, with sanitizers
#: make coverage      how much of the engine these tests reach, and where not
#: make fuzz          fuzz the engine (MINUTES=n, default 3)
#: make mutants       are the tests worth anything? Breaks the code on purpose,
#:                    all of it is long (MUTANTS="name..." only these;
#:                    engine, guest or xen: those of the engine, the kernel,
#:                    or Xen)
#: make kunit         unit tests in a User Mode Linux kernel
#: make test-guest    tests in a booted guest, with lockdep and KASAN
#:                    (TESTS="name..." only these)
#: make test-rig      the build and boot scripts themselves
#: make test-xen      the hypercall, called as a hostile guest would; several
#:                    domains beside one another (that is not in make test)
#: make torture       prove that no byte is ever wrong, whatever fails
#:                    (MINUTES=n, default 60; ROUNDS="name..." only these)
#: make bench-engine  the engine's speed and size, beside their targets
#: make bench-xen     instructions per hypercall, beside their targets
check:
	@scripts/check
test-engine:
	@scripts/engine check
coverage:
	@scripts/engine coverage
fuzz:
	@MINUTES=$(MINUTES) scripts/engine fuzz
mutants:
	@scripts/mutants $(MUTANTS)
kunit:
	@scripts/kunit
test-guest:
	@scripts/test-guest $(TESTS)
test-xen:
	@scripts/test-xen $(TESTS)
test-rig:
	@scripts/test-rig
torture:
	@MINUTES=$(MINUTES) ROUNDS="$(ROUNDS)" scripts/torture
bench-engine:
	@scripts/engine bench
bench-xen:
	@scripts/bench-xen

#: make tree          build/{linux-6.12,xen-4.17}: with our files, to edit
#: make refresh       what was edited there becomes files and patches here
#: make patches       build/patches/{linux-6.12,xen-4.17}: series for git am
#: make check-series  build every step of the series, options on and off (long)
tree:
	@scripts/tree prepare linux
	@scripts/tree prepare xen
refresh:
	@scripts/tree refresh linux
	@scripts/tree refresh xen
patches:
	@scripts/series
check-series:
	@scripts/series check

#: make clean         remove build/ (not when build/linux-6.12 has edits)
clean:
	@scripts/clean

.PHONY: help run test test-all check test-engine coverage fuzz mutants kunit \
	test-guest test-rig test-xen torture bench-engine bench-xen tree \
	refresh patches check-series clean
