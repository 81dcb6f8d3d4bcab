# logmnt: `make help` says what can be made. Everything is built in $(BUILD), nothing beside the sources.

BUILD ?= build
PREFIX ?= /usr/local
SBINDIR ?= /sbin# where mount(8) looks for mount.logmnt
FUZZ_RUNS ?= 1000000
ROOMS ?= engine replication fs

# --- flags ---

# Debian 12 names the C library's file msgpack.pc, later ones msgpack-c.pc.
MSGPACK := $(shell pkg-config --exists msgpack-c 2>/dev/null && echo msgpack-c || echo msgpack)
PACKAGES := fuse3 libuv $(MSGPACK) libisal openssl
PACKAGES_FOUND := $(shell pkg-config --exists $(PACKAGES) 2>/dev/null && echo yes)
# -isystem: the warnings below are for our code, not for inline functions of theirs.
PACKAGE_CFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PACKAGES) 2>/dev/null))
PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lpthread

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Werror
ifdef SANITIZE
OPTIMISE := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -Wno-maybe-uninitialized
ifneq (,$(findstring thread,$(SANITIZE)))
# A fence is something that gcc's ThreadSanitizer cannot see; it says so at each one.
OPTIMISE += -Wno-tsan
endif
HARDEN :=
HOT_SCRIPT :=
else
# A section for each function, so that the linker can lay those that hot.ld names side by side.
OPTIMISE := -O2 -g -ffunction-sections
HOT_SCRIPT := fs/serve/hot.ld
HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fno-plt
endif
ifneq (,$(findstring clang,$(CC)))
OPTIMISE := $(filter-out -Wno-maybe-uninitialized -Wno-tsan,$(OPTIMISE))
endif
LANGUAGE := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I.
ALL_CFLAGS = $(LANGUAGE) $(OPTIMISE) $(HARDEN) $(WARNINGS) -fPIE $(PACKAGE_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = $(OPTIMISE) -pie -Wl,-z,relro,-z,now $(LDFLAGS)

# --- what is built from what ---

sources = $(wildcard $(1)/*/*.c)
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

SOURCES := $(foreach room,$(ROOMS),$(call sources,$(room)))
MAIN := $(filter fs/serve/main.c,$(SOURCES))
# Tests link everything but main. One archive a room, so that `make ROOMS=engine unit` tests a room alone.
ARCHIVES := $(foreach room,$(filter fs,$(ROOMS)) $(filter replication,$(ROOMS)) $(filter engine,$(ROOMS)),$(BUILD)/$(room).a)

UNIT_SOURCES := $(wildcard tests/unit/test_*.c)
FAULT_SOURCES := $(wildcard tests/fault/fault_*.c)
HELPER_SOURCES := $(filter-out $(UNIT_SOURCES) $(FAULT_SOURCES),$(wildcard tests/unit/*.c tests/fault/*.c))
QUORUM_SOURCES := $(filter-out tests/quorum/quorum_%.c,$(wildcard tests/quorum/*.c))
QUORUM_PROGRAMS := $(BUILD)/tests/quorum_random $(BUILD)/tests/quorum_bugs
BENCH_SOURCES := $(wildcard tests/bench/*.c)
HANDS_SOURCES := $(wildcard tests/hands/*.c)
FUZZ_SOURCES := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_HELPER_SOURCES := $(filter-out $(FUZZ_SOURCES),$(wildcard tests/fuzz/*.c))

UNIT_PROGRAMS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(UNIT_SOURCES))
FAULT_PROGRAMS := $(patsubst tests/fault/%.c,$(BUILD)/tests/%,$(FAULT_SOURCES))
SIM_SOURCES := $(wildcard tests/sim/*.c)
SIM_PROGRAM := $(BUILD)/tests/sim
# A node that ends its process does not end the others'.
SIM_LDFLAGS := -Wl,--wrap=abort
BENCH_PROGRAMS := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_SOURCES))
FUZZ_PROGRAMS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SOURCES))

C_FILES = $(wildcard engine/*/*.[ch] replication/*/*.[ch] fs/*/*.[ch] tests/*/*.[ch])

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all deps deps-build demo demo-cluster cluster test unit quorum sim fault mount-test lint bench asan tsan late fuzz tidy format install clean help \
	test-programs unit-programs fault-programs quorum-programs sim-program sim-bugs-program bench-programs fuzz-programs hands FORCE

all: $(BUILD)/logmnt

# Holds the compiler and the flags; everything depends on it, and it is only touched when they change.
$(BUILD)/flags: FORCE
ifneq ($(PACKAGES_FOUND),yes)
	@echo "make: $(PACKAGES): not all of them are here; \`make deps\` installs them" >&2; exit 1
endif
	@mkdir -p $(@D)
	@printf '%s\n' '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(PACKAGE_LIBS)' | cmp -s - $@ || \
		printf '%s\n' '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(PACKAGE_LIBS)' > $@

# `make V=1` shows the commands.
ifdef V
say = @:
hide =
else
say = @echo
hide = @
endif

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(say) '  cc   $@'
	$(hide)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The list of objects is a file of its own, so that an archive is made again when a source goes away.
$(BUILD)/%.members: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(filter-out $(call objects,$(MAIN)),$(call objects,$(call sources,$*)))' | cmp -s - $@ || \
		printf '%s\n' '$(filter-out $(call objects,$(MAIN)),$(call objects,$(call sources,$*)))' > $@

define ARCHIVE
$(BUILD)/$(1).a: $(filter-out $(call objects,$(MAIN)),$(call objects,$(call sources,$(1)))) $(BUILD)/$(1).members
	@rm -f $$@
	@ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach room,$(ROOMS),$(eval $(call ARCHIVE,$(room))))

$(BUILD)/logmnt: $(call objects,$(SOURCES)) $(foreach room,$(ROOMS),$(BUILD)/$(room).members) $(HOT_SCRIPT)
	$(say) '  link $@'
	$(hide)$(CC) $(ALL_LDFLAGS) $(HOT_SCRIPT:%=-Wl,-T,%) -o $@ $(filter %.o,$^) $(PACKAGE_LIBS)

# Memory can end for a thread of it.
$(BUILD)/tests/test_last_line: PROGRAM_LDFLAGS := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$(BUILD)/tests/test_sync: PROGRAM_LDFLAGS := -Wl,--wrap=calloc
$(addprefix $(BUILD)/tests/,test_peers test_strangers): PROGRAM_LDFLAGS := -Wl,--wrap=malloc
$(BUILD)/tests/test_passthrough: PROGRAM_LDFLAGS := -Wl,--wrap=read
$(BUILD)/tests/test_no_memory: PROGRAM_LDFLAGS := -Wl,--wrap=calloc,--wrap=realloc,--wrap=catalog_list,--wrap=topic_resume

$(UNIT_PROGRAMS): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(call objects,$(HELPER_SOURCES)) $(ARCHIVES)
	@mkdir -p $(@D)
	$(say) '  link $@'
	$(hide)$(CC) $(ALL_LDFLAGS) $(PROGRAM_LDFLAGS) -o $@ $^ -lcmocka $(PACKAGE_LIBS)

$(FAULT_PROGRAMS): $(BUILD)/tests/%: $(BUILD)/obj/tests/fault/%.o $(call objects,$(HELPER_SOURCES)) $(ARCHIVES)
	@mkdir -p $(@D)
	$(say) '  link $@'
	$(hide)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(PACKAGE_LIBS)

$(SIM_PROGRAM): $(call objects,$(filter-out tests/sim/sim_bugs.c,$(SIM_SOURCES))) $(ARCHIVES)
	@mkdir -p $(@D)
	$(say) '  link $@'
	$(hide)$(CC) $(ALL_LDFLAGS) $(SIM_LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

# Likewise the whole simulator.
SIM_BUGS_PROGRAM := $(BUILD)/tests/sim_bugs
SIM_BUGS_OBJECTS = $(patsubst %.c,$(BUILD)/obj/bugs/%.o,$(filter-out tests/sim/sim.c,$(SIM_SOURCES)) \
	$(filter-out $(MAIN),$(foreach room,engine replication,$(call sources,$(room)))))

$(SIM_BUGS_PROGRAM): $(SIM_BUGS_OBJECTS)
	@mkdir -p $(@D)
	$(say) '  link $@'
	$(hide)$(CC) $(ALL_LDFLAGS) $(SIM_LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

$(BUILD)/tests/quorum_random: $(call objects,$(QUORUM_SOURCES) tests/quorum/quorum_random.c) $(ARCHIVES)
	@mkdir -p $(@D)
	$(say) '  link $@'
	$(hide)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

# The same with the errors that the random test must find compiled in, off until the program turns one on.
BUGS_OBJECTS = $(patsubst %.c,$(BUILD)/obj/bugs/%.o,$(QUORUM_SOURCES) tests/quorum/quorum_bugs.c \
	$(wildcard replication/metadata/raft*.c))

$(BUILD)/obj/bugs/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(say) '  cc   $@'
	$(hide)$(CC) $(ALL_CFLAGS) -DLOGMNT_BUGS -MMD -MP -c -o $@ $<

$(BUILD)/tests/quorum_bugs: $(BUGS_OBJECTS) $(ARCHIVES)
	@mkdir -p $(@D)
	$(say) '  link $@'
	$(hide)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

$(BENCH_PROGRAMS): $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o
	@mkdir -p $(@D)
	$(say) '  link $@'
	$(hide)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

# A client, like those of the mount suite that come with the system: never sanitized, whatever it is run against.
HANDS := $(BUILD)/tests/hands
$(HANDS): $(HANDS_SOURCES) $(wildcard tests/hands/*.h) $(BUILD)/flags
	@mkdir -p $(@D)
	$(say) '  link $@'
	$(hide)$(CC) $(LANGUAGE) -O2 -g $(WARNINGS) -o $@ $(HANDS_SOURCES) -lpthread

hands: $(HANDS)
unit-programs: $(UNIT_PROGRAMS)
fault-programs: $(FAULT_PROGRAMS)
quorum-programs: $(QUORUM_PROGRAMS)
sim-program: $(SIM_PROGRAM)
sim-bugs-program: $(SIM_BUGS_PROGRAM)
bench-programs: $(BENCH_PROGRAMS)
test-programs: all unit-programs fault-programs quorum-programs sim-program hands

asan:
	+@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan SANITIZE=address,undefined test-programs

tsan:
	+@$(MAKE) --no-print-directory BUILD=$(BUILD)/tsan SANITIZE=thread test-programs

# Every read and look-up is answered late, as from another node (replication/replica/late_replica.h).
late:
	+@$(MAKE) --no-print-directory BUILD=$(BUILD)/late CFLAGS="$(CFLAGS) -DLOGMNT_LATE_REPLICA" all

# libFuzzer is clang's. Objects of their own, because coverage is compiled in.
FUZZ_CFLAGS = $(LANGUAGE) -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all $(WARNINGS) $(PACKAGE_CFLAGS)
FUZZ_OBJECTS := $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(filter-out fs/serve/main.c,$(SOURCES)) $(FUZZ_HELPER_SOURCES))

$(BUILD)/fuzz/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(say) '  cc   $@'
	$(hide)clang $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/fuzz.a: $(FUZZ_OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(FUZZ_PROGRAMS): $(BUILD)/fuzz/%: $(BUILD)/fuzz/obj/tests/fuzz/%.o $(BUILD)/fuzz/fuzz.a
	$(say) '  link $@'
	$(hide)clang -fsanitize=fuzzer,address,undefined -o $@ $^ $(PACKAGE_LIBS)

fuzz-programs: $(FUZZ_PROGRAMS)

# --- what is run ---

# SEEDS=N: in the place of what tests/run says, however long they take.
SEED ?= 1
export BUILD FUZZ_RUNS CC
ifdef SEEDS
export SIM_SEEDS := $(SEEDS)
export PROGRAM_TIMEOUT := 0
endif
export SIM_SEED := $(SEED)
export SIM_NODES := $(NODES)

demo:
	@$(MAKE) --no-print-directory deps-build
	+@$(MAKE) --no-print-directory all
	@tests/demo/run $(BUILD)/logmnt

demo-cluster:
	@$(MAKE) --no-print-directory deps-build
	+@$(MAKE) --no-print-directory all
	@tests/demo/run-cluster $(BUILD)/logmnt

test:
	@$(MAKE) --no-print-directory deps
	@tests/run lint unit quorum sim fault fuzz-smoke mount late cluster asan tsan

lint unit quorum sim fault fuzz cluster:
	@tests/run $@

mount-test:
	@tests/run mount

bench: all bench-programs
	@tests/bench/run $(BENCH)

tidy:
	clang-format --dry-run --Werror $(C_FILES)
	clang-tidy --quiet $(filter %.c,$(C_FILES)) -- $(LANGUAGE) $(PACKAGE_CFLAGS)

format:
	clang-format -i $(C_FILES)

install: all
	install -D -m 755 $(BUILD)/logmnt $(DESTDIR)$(PREFIX)/bin/logmnt
	install -D -m 644 docs/logmnt.8 $(DESTDIR)$(PREFIX)/share/man/man8/logmnt.8
	for f in $(wildcard mount-scripts/*); do \
		case $$f in \
		*/mount.*) install -D -m 755 $$f $(DESTDIR)$(SBINDIR)/$${f##*/} ;; \
		*.service) install -D -m 644 $$f $(DESTDIR)$(PREFIX)/lib/systemd/system/$${f##*/} ;; \
		*) install -D -m 755 $$f $(DESTDIR)$(PREFIX)/bin/$${f##*/} ;; \
		esac || exit 1; \
	done

clean:
	rm -rf $(BUILD)

# --- what has to be installed ---

DEPS_BUILD := gcc libc6-dev make pkg-config libfuse3-dev fuse3 libuv1-dev libmsgpack-dev libisal-dev libssl-dev libxxhash-dev attr \
	iproute2 openssl util-linux gawk
# apache2-bin: a daemon that writes logs, without the service. bsdutils: logger and script. nginx and rsyslog come with
# a service each: SYSTEMD_OFFLINE keeps the installation from starting it.
DEPS_TEST := $(DEPS_BUILD) clang clang-format clang-tidy libcmocka-dev bats gawk rsync python3 perl less bsdutils \
	e2fsprogs mount util-linux iproute2 openssl procps psmisc curl apache2-bin git rsyslog busybox pv nginx-light

deps-build: DEPS := $(DEPS_BUILD)
deps: DEPS := $(DEPS_TEST)
# clang's sanitizer runtimes are a package named after its version, known once clang is there.
deps deps-build:
	@missing() { for p in "$$@"; do \
		dpkg-query -W -f='$${db:Status-Status}\n' $$p 2>/dev/null | grep -qx installed || echo $$p; done; }; \
	as_root() { if [ "$$(id -u)" = 0 ]; then "$$@"; else sudo "$$@"; fi; }; \
	get() { [ $$# = 0 ] && return; echo "deps: installing $$*"; \
		[ -n "$$updated" ] || as_root apt-get update -q >/dev/null || return; updated=yes; \
		as_root env SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$$@" >/dev/null; }; \
	get $$(missing $(DEPS)) || exit 1; \
	case " $(DEPS) " in *" clang "*) \
		v=$$(clang -dumpversion) && get $$(missing libclang-rt-$${v%%.*}-dev) || exit 1 ;; esac

help:
	@echo 'make            builds $(BUILD)/logmnt'
	@echo 'make deps       installs what building and testing need (apt; sudo when not root)'
	@echo 'make demo       a mounted log with real data, in one command'
	@echo 'make demo-cluster  three of them, a leader that is killed, and nothing lost (root)'
	@echo 'make test       everything that .ci/run runs; ends with N passed, N failed, N skipped'
	@echo 'make unit | quorum | sim | fault | lint | mount-test | cluster   one part of it; make sim SEEDS=n SEED=x NODES=n'
	@echo 'make bench      the benchmarks, all or BENCH=name; also $(BUILD)/bench.json'
	@echo 'make fuzz       FUZZ_RUNS=$(FUZZ_RUNS) runs of each fuzzer'
	@echo 'make asan tsan  the same programs under AddressSanitizer + UBSan, and under ThreadSanitizer'
	@echo 'make late       logmnt with a replica that answers late; tests/run late reads through it'
	@echo 'make tidy       clang-format and clang-tidy, as checks; make format lays the code out'
	@echo 'make install    DESTDIR=, PREFIX=$(PREFIX), SBINDIR=$(SBINDIR)'
	@echo 'make clean      removes $(BUILD)'

-include $(shell find $(BUILD)/obj $(BUILD)/fuzz/obj -name '*.d' 2>/dev/null)
