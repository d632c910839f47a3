# Hostile files and calls: libFuzzer targets, the inputs that were kept of them, and what hostile files may cost.
#
#   make check-fuzz [FUZZ_SECONDS=120] [FUZZ_TARGETS='journal header']   from the committed corpus, two targets at a time
#   make soak-fuzz [MINUTES=60]                                           the same, one round of targets after the other
#
# Inputs that fail are left in build/fuzz/; see tests/fuzz/targets.cpp for how to run one again.

CHECKS += fuzz
SOAKS += fuzz

FUZZ_SECONDS ?= 120
FUZZ_CXX ?= clang++
FUZZ_FLAGS = -std=$(STD) -I. -Itests $(CPPFLAGS) -O1 -g1 -fno-omit-frame-pointer -Wall -Wextra -pthread \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_CLI = byte_syntax dump_format json_lines text_input

build/fuzz/targets.o: tests/fuzz/targets.cpp | emdb.hpp
	@mkdir -p $(@D)
	$(FUZZ_CXX) $(FUZZ_FLAGS) -MMD -MP -c $< -o $@

build/fuzz/cli_%.o: examples/cli/%.cpp
	@mkdir -p $(@D)
	$(FUZZ_CXX) $(FUZZ_FLAGS) -MMD -MP -c $< -o $@

build/fuzz/targets: build/fuzz/targets.o $(FUZZ_CLI:%=build/fuzz/cli_%.o)
	$(FUZZ_CXX) $(FUZZ_FLAGS) $^ $(LDFLAGS) -o $@

check-fuzz soak-fuzz: export FUZZ_TARGETS := $(FUZZ_TARGETS)
check-fuzz:
	@tests/deps.sh clang-runtime
	@rm -f build/fuzz/summary; $(MAKE) $(SUBMAKE_FLAGS) build/fuzz/targets || rm -f build/fuzz/targets
	@status=0; FUZZ_SECONDS=$(FUZZ_SECONDS) $(PYTHON) tests/run.py --title 'hostile files' --timeout 36000 tests/fuzz/run_fuzzers.py \
	    || status=1; cat build/fuzz/summary 2>/dev/null; exit $$status

soak-fuzz:
	@tests/deps.sh clang-runtime
	@rm -f build/fuzz/summary; $(MAKE) $(SUBMAKE_FLAGS) build/fuzz/targets || rm -f build/fuzz/targets
	@status=0; FUZZ_MINUTES=$(MINUTES) $(PYTHON) tests/run.py --title 'hostile files' --timeout 3600000 tests/fuzz/run_fuzzers.py \
	    || status=1; cat build/fuzz/summary 2>/dev/null; exit $$status

# What make test-long runs of it: the inputs that were kept, without libFuzzer, and the tests of what hostile files cost.
FUZZ_TESTS := $(wildcard tests/fuzz/*_test.cpp)
FUZZ_TEST_PROGRAMS := $(FUZZ_TESTS:tests/%.cpp=$(BUILD)/tests/%)
ifneq ($(origin TESTS),command line)
TEST_PROGRAMS += $(FUZZ_TEST_PROGRAMS)
test-programs: $(FUZZ_TEST_PROGRAMS)
endif

$(FUZZ_TESTS:tests/%.cpp=$(BUILD)/tests/%.o) $(BUILD)/tests/fuzz/cost_counters.o: | $(BUILD)/tests/fuzz
$(BUILD)/tests/fuzz:
	@mkdir -p $@

$(BUILD)/tests/fuzz/corpus_test: $(FUZZ_CLI:%=$(BUILD)/tests/cli/%.o)

# Counts instead of times: every basic block of the implementation, and what the C library is asked to touch.
$(BUILD)/tests/fuzz/hostile_cost_test.o: DEFINES += $(WHOLE_PROGRAM) -fsanitize-coverage=trace-pc
$(BUILD)/tests/fuzz/hostile_cost_test: $(BUILD)/tests/fuzz/cost_counters.o
$(BUILD)/tests/fuzz/hostile_cost_test: LDFLAGS += -Wl,--wrap=memcpy,--wrap=memmove,--wrap=memset,--wrap=memcmp

-include $(wildcard build/fuzz/*.d $(BUILD)/tests/fuzz/*.d)
