# nanopush: `make demo` runs the main job, `make test` passes the tests; both install what is missing (Debian packages,
# and npm's for the tests). `make help` lists the rest. BUILD is where everything goes that is made.

VERSION  := 0.1.0
BUILD    ?= build
prefix   ?= /usr/local
SANITIZE ?=

ifeq ($(origin CC),default)
CC := gcc
endif
WARNINGS := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wformat=2
HARDEN   := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
OPTIMISE := -O2 -D_FORTIFY_SOURCE=2
ifneq ($(SANITIZE),)
OPTIMISE := -O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined
LDFLAGS  += -fsanitize=$(SANITIZE)
endif
CFLAGS   ?= -g
override CFLAGS += -std=c11 -D_GNU_SOURCE -DNANOPUSH_VERSION='"$(VERSION)"' $(WARNINGS) $(HARDEN) $(OPTIMISE)
CPPFLAGS += -Ibroker -Iclients -I$(BUILD)/gen
LDFLAGS  += -pie -Wl,-z,relro,-z,now
LDLIBS_BROKER := -lhiredis -lhttp_parser -lnghttp2 -lconfig -lqrencode -ljansson -lprotobuf-c -lssl -lcrypto
LDLIBS_CLI    := -lcurl -lqrencode -lhttp_parser -ljansson -lprotobuf-c -lssl -lcrypto

# ---- what is generated ----
PROTOS      := $(wildcard proto/nanopush/v1/*.proto) $(wildcard proto/google/rpc/*.proto) \
               proto/grpc/health/v1/health.proto
PROTO_GEN   := $(PROTOS:proto/%.proto=$(BUILD)/gen/%.pb-c.c) $(BUILD)/gen/google/protobuf/timestamp.pb-c.c \
               $(BUILD)/gen/google/protobuf/duration.pb-c.c $(BUILD)/gen/google/protobuf/any.pb-c.c
RECORD_GEN  := $(BUILD)/gen/store/record.pb-c.c
SCRIPT_GEN  := $(BUILD)/gen/store/scripts.c
PAGE_GEN    := $(BUILD)/gen/ops/dashboard_page.c
GENERATED   := $(PROTO_GEN) $(RECORD_GEN) $(SCRIPT_GEN) $(PAGE_GEN)
PROTO_OBJ   := $(PROTO_GEN:.c=.o)

# ---- what is compiled ----
BROKER_SRC  := $(filter-out broker/proc/main.c,$(wildcard broker/*/*.c))
BROKER_OBJ  := $(BROKER_SRC:%.c=$(BUILD)/%.o) $(RECORD_GEN:.c=.o) $(SCRIPT_GEN:.c=.o) $(PAGE_GEN:.c=.o)
DEVICE_SRC  := $(filter-out clients/device/example.c,$(wildcard clients/device/*.c))
CLI_SRC     := $(filter-out clients/cli/main.c,$(wildcard clients/cli/*.c))
UNIT_SRC    := $(wildcard tests/unit/test_*.c)
UNIT        := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/unit/%)
SWARM_SRC   := $(filter-out tests/bench/floor.c tests/bench/tls_bench.c,$(wildcard tests/bench/*.c))
BENCH       := $(BUILD)/swarm $(BUILD)/floor $(BUILD)/tls_bench
REPLAY      := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/tests/unit/replay_%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ        := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
C_FILES     := $(wildcard broker/*/*.[ch] clients/*/*.[ch] tests/*/*.[ch])

.PHONY: deb deb-test reference reference-check all help deps test-deps demo test asan fuzz chaos chaos-seeds bench bench-short quick check lint includes format clean
all: $(BUILD)/nanopushd $(BUILD)/nanopush $(BUILD)/device-example

help:
	@echo 'make demo    one login approved, end to end (AUTO=1: answers by itself)'
	@echo 'make test    all tests'
	@echo 'make asan    all tests under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make fuzz    every fuzz target for SECONDS seconds (default 20)'
	@echo 'make chaos   logins while everything is killed, paused and cut, for MINUTES (default 5); see tests/chaos'
	@echo 'make chaos-seeds  the checker of chaos rejects brokers that are wrong on purpose'
	@echo 'make bench   nanopush beside mosquitto, nchan and a bare TLS server; bench-short: in two minutes'
	@echo 'make check   format, warnings, include directions and unit tests: before each commit'
	@echo 'make format  lay out the C files'
	@echo 'make reference  write broker/METRICS.md anew'
	@echo 'make all     build/nanopushd and build/nanopush'
	@echo 'make install both and their manual pages, below prefix (/usr/local), below DESTDIR'
	@echo 'make deb     a Debian package, in build/; deb-test: tries it on a bare Debian 12 (as root)'

deps:
	@deploy/deps.sh build
test-deps: deps
	@deploy/deps.sh test

demo: deps
	@$(MAKE) --no-print-directory -s all
	@BUILD='$(BUILD)' deploy/demo/demo.sh

test: test-deps
	@$(MAKE) --no-print-directory -s all unit
	@BUILD='$(BUILD)' tests/run.sh

asan: test-deps
	@$(MAKE) --no-print-directory -s BUILD=build/asan SANITIZE=address,undefined all unit
	@BUILD=build/asan NANOPUSH_SLOW=1 tests/run.sh

fuzz: deps
	@$(MAKE) --no-print-directory -s BUILD=build/fuzz CC=clang SANITIZE=fuzzer-no-link,address,undefined fuzz-targets
	@tests/fuzz/run.sh build/fuzz $(or $(SECONDS),20)

chaos: test-deps
	@$(MAKE) --no-print-directory -s all
	@tests/generate.sh
	@BUILD='$(BUILD)' NANOPUSHD='$(BUILD)/nanopushd' node tests/chaos/chaos.mjs --minutes $(or $(MINUTES),5) $(CHAOS_ARGS)

chaos-seeds: test-deps
	@$(MAKE) --no-print-directory -s all
	@tests/generate.sh
	@BUILD='$(BUILD)' node tests/chaos/seeds.mjs $(SEED)

bench bench-short: test-deps
	@deploy/deps.sh bench $(BUILD)/bench/packages
	@$(MAKE) --no-print-directory -s all unit
	@tests/generate.sh
	@BUILD='$(BUILD)' NANOPUSHD='$(BUILD)/nanopushd' node tests/bench/bench.mjs --out '$(BUILD)/bench' \
	  $(if $(filter bench-short,$@),--short) $(BENCH_ARGS)

check: lint
	@$(MAKE) --no-print-directory -s all unit
	@BUILD='$(BUILD)' tests/run.sh unit

lint: includes reference-check
	@clang-format --dry-run --Werror $(C_FILES)

# broker/METRICS.md is made from core/metric.def, and in the tree so that it can be read there.
reference: all
	@$(BUILD)/nanopushd --print-metrics > broker/METRICS.md
reference-check: $(BUILD)/nanopushd
	@$(BUILD)/nanopushd --print-metrics | cmp -s - broker/METRICS.md || \
	  { echo 'broker/METRICS.md is not what core/metric.def says: run make reference' >&2; exit 1; }

includes:
	@tests/include_directions.sh

install: $(BUILD)/nanopushd $(BUILD)/nanopush
	install -D -m 755 $(BUILD)/nanopushd "$(DESTDIR)$(prefix)/sbin/nanopushd"
	install -D -m 755 $(BUILD)/nanopush "$(DESTDIR)$(prefix)/bin/nanopush"
	@deploy/man/manual.sh $(BUILD) $(BUILD)/man
	install -D -m 644 -t "$(DESTDIR)$(prefix)/share/man/man1" $(BUILD)/man/nanopush.1
	install -D -m 644 -t "$(DESTDIR)$(prefix)/share/man/man5" $(BUILD)/man/nanopushd.conf.5
	install -D -m 644 -t "$(DESTDIR)$(prefix)/share/man/man8" $(BUILD)/man/nanopushd.8

deb: deps $(BUILD)/nanopushd $(BUILD)/nanopush
	@deploy/deps.sh deb
	@deploy/debian/build.sh $(BUILD)
deb-test: $(BUILD)/nanopushd $(BUILD)/nanopush
	@deploy/debian/test.sh $(BUILD)

format:
	@clang-format -i $(C_FILES)

clean:
	rm -rf build

# ---- rules ----
.PHONY: unit fuzz-targets
unit: $(UNIT) $(BENCH) $(BUILD)/nanopushd-stops $(BUILD)/tests/transcode $(REPLAY)
fuzz-targets: $(FUZZ)

$(BUILD)/libbroker.a: $(BROKER_OBJ) $(PROTO_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$(BUILD)/libnanopush-device.a: $(DEVICE_SRC:%.c=$(BUILD)/%.o) $(PROTO_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$(BUILD)/libcli.a: $(CLI_SRC:%.c=$(BUILD)/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/nanopushd: $(BUILD)/broker/proc/main.o $(BUILD)/libbroker.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS_BROKER)
# The broker with one part that is wrong on purpose: see tests/chaos/seeds.mjs, which writes the part.
$(BUILD)/seeds/%/nanopushd: $(BUILD)/seeds/%/part.c $(BUILD)/broker/proc/main.o $(BUILD)/libbroker.a
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS_BROKER)
# The same objects, with a seam around what goes to Redis: see tests/chaos/stop_points.c.
$(BUILD)/nanopushd-stops: $(BUILD)/tests/chaos/stop_points.o $(BUILD)/broker/proc/main.o $(BUILD)/libbroker.a
	$(CC) $(LDFLAGS) -Wl,--wrap=redis_send,--wrap=send -o $@ $^ $(LDLIBS_BROKER)
$(BUILD)/nanopush: $(BUILD)/clients/cli/main.o $(BUILD)/libcli.a $(BUILD)/libnanopush-device.a $(BUILD)/libbroker.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS_CLI)
$(BUILD)/swarm: $(SWARM_SRC:%.c=$(BUILD)/%.o) $(BUILD)/libnanopush-device.a $(BUILD)/libbroker.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS_BROKER)
$(BUILD)/floor: $(BUILD)/tests/bench/floor.o
	$(CC) $(LDFLAGS) -o $@ $^ -lssl -lcrypto
$(BUILD)/tls_bench: $(BUILD)/tests/bench/tls_bench.o $(BUILD)/libbroker.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS_BROKER)
$(BUILD)/device-example: $(BUILD)/clients/device/example.o $(BUILD)/libnanopush-device.a
	$(CC) $(LDFLAGS) -o $@ $^ -lprotobuf-c -lssl -lcrypto

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libcli.a $(BUILD)/libnanopush-device.a $(BUILD)/libbroker.a
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka -lcurl $(LDLIBS_BROKER)
$(BUILD)/tests/transcode: $(BUILD)/tests/integration/transcode.o $(BUILD)/libbroker.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS_BROKER)
$(BUILD)/tests/unit/test_nonce: LDFLAGS += -Wl,--wrap=traffic_seal
$(BUILD)/tests/unit/test_stream: LDFLAGS += -Wl,--wrap=send
$(BUILD)/tests/unit/test_tls13_kdf: LDFLAGS += -Wl,--wrap=hkdf_extract
# The limits are tested on a clock of the test's own: the same scripts, with another time.lua in front.
$(BUILD)/gen/store/scripts_virtual.c: $(SCRIPT_GEN) tests/unit/virtual_time.lua
	broker/store/embed.sh broker $(BUILD)/gen/store/moves.lua tests/unit/virtual_time.lua > $@.tmp
	@mv $@.tmp $@
$(BUILD)/tests/unit/test_limits: $(BUILD)/tests/unit/test_limits.o $(BUILD)/gen/store/scripts_virtual.o $(BUILD)/libbroker.a
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS_BROKER)

# Each fuzz target with its seeds and no fuzzer, among the unit tests: so that none rots.
$(BUILD)/tests/unit/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/libnanopush-device.a $(BUILD)/libbroker.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS_BROKER)
$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/libnanopush-device.a $(BUILD)/libbroker.a
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS_BROKER)

$(BUILD)/gen/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -DVECTOR_DIR='"proto/vectors"' -MMD -MP -c -o $@ $<
$(BROKER_SRC:%.c=$(BUILD)/%.o) $(BUILD)/broker/proc/main.o: | $(GENERATED)
$(DEVICE_SRC:%.c=$(BUILD)/%.o) $(CLI_SRC:%.c=$(BUILD)/%.o) $(BUILD)/clients/cli/main.o $(BUILD)/clients/device/example.o: | $(GENERATED)
$(UNIT:=.o) $(FUZZ:=.o) $(SWARM_SRC:%.c=$(BUILD)/%.o) $(BUILD)/tests/integration/transcode.o $(BUILD)/tests/chaos/stop_points.o: | $(GENERATED)
.SECONDARY: $(UNIT:=.o) $(FUZZ:=.o)

$(BUILD)/gen/%.pb-c.h: $(BUILD)/gen/%.pb-c.c ;

# protoc-c writes a .c and a .h for each .proto; imports are resolved by name below proto/ and the system's own.
$(BUILD)/gen/%.pb-c.c: proto/%.proto
	@mkdir -p $(BUILD)/gen
	protoc-c -Iproto -I/usr/include --c_out=$(BUILD)/gen $<
$(BUILD)/gen/google/protobuf/%.pb-c.c:
	@mkdir -p $(BUILD)/gen
	protoc-c -I/usr/include --c_out=$(BUILD)/gen google/protobuf/$*.proto
$(RECORD_GEN): broker/store/record.proto
	@mkdir -p $(BUILD)/gen
	protoc-c -Ibroker --c_out=$(BUILD)/gen $<
$(BUILD)/gen/store/moves.lua: broker/store/lua/moves.lua.in broker/store/challenge_state.def
	@mkdir -p $(@D)
	$(CC) -E -P -undef -Ibroker -x c $< -o $@
$(SCRIPT_GEN): $(wildcard broker/store/lua/*.lua) broker/store/script.def broker/store/embed.sh $(BUILD)/gen/store/moves.lua
	broker/store/embed.sh broker $(BUILD)/gen/store/moves.lua broker/store/lua/time.lua > $@.tmp
	@mv $@.tmp $@

# The dashboard, as a string.
$(PAGE_GEN): broker/ops/dashboard.html
	@mkdir -p $(@D)
	@{ echo 'extern const char dashboard_page[];'; echo 'const char dashboard_page[] = {'; \
	  od -An -v -tx1 $< | sed 's/[0-9a-f][0-9a-f]/0x&,/g'; echo '0};'; } > $@.tmp
	@mv $@.tmp $@

-include $(shell find $(BUILD) -type f -name '*.d' -not -path '$(BUILD)/asan/*' -not -path '$(BUILD)/fuzz/*' 2>/dev/null)
