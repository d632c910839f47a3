# The only build of emdb. `make help` lists the targets; everything is built in build/.

ifeq ($(origin CXX),default)
CXX := $(firstword $(foreach compiler,g++ clang++ c++,$(shell command -v $(compiler) >/dev/null && echo $(compiler))))
$(if $(CXX),,$(error there is no C++ compiler here: install one (on Debian: apt-get install g++), or set CXX))
endif
PYTHON ?= python3
STD ?= c++20
CXXFLAGS ?= -Og
DIR ?= .
PREFIX ?= /usr/local

INSTALLED = $(DESTDIR)$(PREFIX)

FLAGS = -std=$(STD) -I. -Itests $(CPPFLAGS) $(CXXFLAGS) -Wall -Wextra -pthread
export CXX

JOBS := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# For builds that a recipe starts: all cores, unless a -j was given.
SUBMAKE_FLAGS = --no-print-directory -k $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(JOBS))

BUILD ?= build

# A test source that defines EMDB_IMPLEMENTATION sees the internals and is a program of its own. All others see only
# what a user sees and are linked into one program, with one implementation.
TESTS := $(wildcard tests/*_test.cpp)
WHITE_BOX_TESTS := $(if $(TESTS),$(shell grep -l '^\#define EMDB_IMPLEMENTATION' $(TESTS)))
BLACK_BOX_TESTS := $(filter-out $(WHITE_BOX_TESTS),$(TESTS))
TEST_PROGRAMS := $(if $(BLACK_BOX_TESTS),$(BUILD)/tests/black_box) $(WHITE_BOX_TESTS:tests/%.cpp=$(BUILD)/tests/%)
SCRIPT_TESTS = $(filter-out $(LONG_SCRIPT_TESTS),$(wildcard tests/*_test.py))

# What `make test` leaves to `make test-long`, and that to `make check`: it is to take less than five minutes on two cores. These
# take a compiler or a simulated disk long, or are about what is around the header.
LONG_SCRIPT_TESTS := $(wildcard $(patsubst %,tests/%_test.py,header examples features readme install format cli_transfer))
LONG_TEST_PROGRAMS = $(FUZZ_TEST_PROGRAMS) $(filter $(patsubst %,$(BUILD)/tests/%_test,async_asio compaction_faults contract_features \
    encrypted_inspection encrypted_power_cut encryption_secrecy encryption_tampering iouring),$(TEST_PROGRAMS))
QUICK_TEST_PROGRAMS = $(filter-out $(LONG_TEST_PROGRAMS),$(TEST_PROGRAMS))
# Programs in the order to run them in: the longest ones first, so that nobody waits for one of them at the end.
LONGEST = %/black_box %/power_cut_test %/encrypted_power_cut_test %/compaction_faults_test
longest_first = $(filter $(LONGEST),$(1)) $(filter-out $(LONGEST),$(1))

.PHONY: all help header install uninstall docs deps test test-long test-programs demo bench cli examples check-header warnings features sanitize format clean FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: header test-programs

help:
	@echo 'make all           the header and the test programs (the default)'
	@echo 'make test          build and run every test'
	@echo 'make demo [DIR=.]  index a directory tree into a database, kill it half-way, recover, query'
	@echo 'make cli           build the command line, build/emdb; see examples/cli/README.md'
	@echo 'make bench         measure, against limits probed in the same run'
	@echo 'make bench-peers   measure, against other stores; WORKLOAD=, RECORDS=. See bench/README.md'
	@echo 'make bench-smoke   fail if emdb has become slow against the bare probes'
	@echo 'make examples      build every program in examples/; make build/examples/NAME for one'
	@echo 'make header        regenerate emdb.hpp from src/'
	@echo 'make check-header  fail if emdb.hpp is out of step with src/'
	@echo 'make warnings      the header with all warnings as errors: GCC and Clang, C++20 and C++23'
	@echo 'make features      the header in every combination of feature macros'
	@echo 'make sanitize      the tests under ASan and UBSan, those with threads under TSan'
	@echo 'make check         the tests and the long proof: power cuts, faults, fuzzing, races, platforms, analysis'
	@echo 'make soak          the same without end, for MINUTES=60'
	@echo 'make coverage      lines and branches of src/ that the tests run, build/coverage/report.txt'
	@echo 'make check-mutants how many small changes that break the engine the tests notice; 20 minutes'
	@echo 'make install       emdb.hpp and emdb.pc under PREFIX ($(PREFIX)); DESTDIR is put before it. make uninstall'
	@echo 'make docs          the reference as HTML, build/docs/html/index.html (by Doxygen)'
	@echo 'make deps          install what the tests lack (make test does it by itself)'
	@echo 'make format        clang-format over src, tests, bench and examples'
	@echo 'make clean         remove build/'
	@echo 'Variables: CXX ($(CXX)), CXXFLAGS ($(CXXFLAGS)), CPPFLAGS, LDFLAGS, STD ($(STD))'

# --- the header

header: emdb.hpp

# Always tried, and cheap; the file is touched only if its text changes, so nothing is rebuilt in vain. Who only uses it needs no Python.
emdb.hpp: FORCE
	@if command -v $(PYTHON) >/dev/null; then $(PYTHON) amalgamate.py; \
	else echo 'There is no $(PYTHON) here: emdb.hpp is taken as it is, changes in src/ are not.'; fi

check-header:
	$(PYTHON) amalgamate.py --check

# --- installing, and the reference

VERSION = $(shell sed -n 's/^\#define EMDB_VERSION_STRING "\(.*\)"/\1/p' emdb.hpp)

define PC_FILE
prefix=$(PREFIX)
includedir=$${prefix}/include

Name: emdb
Description: An embedded key-value store in one header
Version: $(VERSION)
Cflags: -I$${includedir} -pthread
Libs: -pthread
endef

# Settings for Doxygen. What is protected is no business of users. All warnings are errors: each public item has its contract.
define DOXYGEN_SETTINGS
PROJECT_NAME = emdb
PROJECT_NUMBER = $(VERSION)
PROJECT_BRIEF = "An embedded key-value store in one header"
INPUT = emdb.hpp
INPUT_FILTER = "sed s/^protected:/private:/"
OUTPUT_DIRECTORY = build/docs
PREDEFINED = EMDB_TTL=1 EMDB_NESTED=1 EMDB_ENCRYPT=1 EMDB_ASYNC=1 EMDB_IO_URING=1
MACRO_EXPANSION = YES
EXPAND_ONLY_PREDEF = YES
EXCLUDE_SYMBOLS = emdb::detail emdb::detail::*
DISTRIBUTE_GROUP_DOC = YES
SORT_MEMBER_DOCS = NO
WARN_AS_ERROR = FAIL_ON_WARNINGS
QUIET = YES
SHOW_INCLUDE_FILES = NO
GENERATE_LATEX = NO
HAVE_DOT = NO
endef
export PC_FILE DOXYGEN_SETTINGS

# The header as it is: who installs need not have Python.
install:
	install -d '$(INSTALLED)/include' '$(INSTALLED)/share/pkgconfig'
	install -m 644 emdb.hpp '$(INSTALLED)/include/emdb.hpp'
	echo "$$PC_FILE" > '$(INSTALLED)/share/pkgconfig/emdb.pc'
	chmod 644 '$(INSTALLED)/share/pkgconfig/emdb.pc'

uninstall:
	rm -f '$(INSTALLED)/include/emdb.hpp' '$(INSTALLED)/share/pkgconfig/emdb.pc'

docs: emdb.hpp
	@tests/deps.sh doxygen
	@mkdir -p build/docs
	echo "$$DOXYGEN_SETTINGS" | doxygen -
	@echo 'build/docs/html/index.html'

# --- tests

# What some tests need and are skipped without.
try_deps = for name in $(1); do CPPFLAGS='$(CPPFLAGS)' tests/deps.sh $$name || echo "Going on without $$name: its tests are skipped."; done

deps:
	@CPPFLAGS='$(CPPFLAGS)' tests/deps.sh doctest
	@$(call try_deps,asio $(if $(filter Linux,$(shell uname)),liburing))

test-programs: $(TEST_PROGRAMS)

# Programs that do not build count as a failure, and the rest still runs.
test: deps
	@failed=; $(MAKE) $(SUBMAKE_FLAGS) header $(QUICK_TEST_PROGRAMS) $(BUILD)/tests/emdb || failed='--failed=build'; \
	$(PYTHON) tests/run.py $$failed $(call longest_first,$(QUICK_TEST_PROGRAMS)) $(SCRIPT_TESTS)

# The rest of the tests.
test-long: deps
	@$(call try_deps,clang-runtime lmdb-utils db-util doxygen pkg-config)
	@failed=; $(MAKE) $(SUBMAKE_FLAGS) header $(LONG_TEST_PROGRAMS) $(BUILD)/tests/emdb || failed='--failed=build'; \
	$(PYTHON) tests/run.py --title 'long tests' $$failed $(LONG_SCRIPT_TESTS) $(call longest_first,$(LONG_TEST_PROGRAMS))

# Objects are rebuilt when the compiler or the flags change.
$(BUILD)/tests/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CXX) $(FLAGS)' | cmp -s - $@ || echo '$(CXX) $(FLAGS)' > $@

$(BUILD)/tests/%.o: tests/%.cpp $(BUILD)/tests/flags | deps emdb.hpp
	$(CXX) $(FLAGS) $(DEFINES) -MMD -MP -c $< -o $@

$(BUILD)/tests/black_box: $(BLACK_BOX_TESTS:tests/%.cpp=$(BUILD)/tests/%.o) $(BUILD)/tests/implementation.o $(BUILD)/tests/main.o
	$(CXX) $(FLAGS) $^ $(LDFLAGS) -o $@

$(BUILD)/tests/%_test: $(BUILD)/tests/%_test.o $(BUILD)/tests/main.o
	$(CXX) $(FLAGS) $^ $(LDFLAGS) $(LIBRARIES) -o $@

# OpenSSL is what the ciphers are compared with, where this compiler finds it.
OPENSSL = $(shell echo 'int main() { EVP_CIPHER_CTX_free(EVP_CIPHER_CTX_new()); }' | \
    $(CXX) $(FLAGS) -include openssl/evp.h -x c++ - $(LDFLAGS) -lcrypto -o /dev/null 2>/dev/null && echo yes)
$(BUILD)/tests/aead_test.o: DEFINES = $(if $(OPENSSL),-DTEST_WITH_OPENSSL=1)
$(BUILD)/tests/aead_test: LIBRARIES = $(if $(OPENSSL),-lcrypto)

# A white-box test is all there is of its program: what it does not use of the implementation need not be compiled.
WHOLE_PROGRAM := $(shell echo 'int main() {}' | $(CXX) -fwhole-program -Werror -x c++ -c - -o /dev/null 2>/dev/null && echo -fwhole-program)
$(WHITE_BOX_TESTS:tests/%.cpp=$(BUILD)/tests/%.o): DEFINES += $(WHOLE_PROGRAM)

# Without liburing its test has nothing to link, and says so.
$(BUILD)/tests/iouring_test build/bench/iouring: LDFLAGS += $(if $(wildcard /usr/include/liburing.h),-luring)

# The command line for tests/cli_*_test.py. It has other features than the other tests, and so its own implementation.
CLI := $(basename $(notdir $(wildcard examples/cli/*.cpp)))
CLI_FEATURES = -DEMDB_ENCRYPT=1

$(BUILD)/tests/cli/%.o: examples/cli/%.cpp $(BUILD)/tests/flags | emdb.hpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) $(CLI_FEATURES) -MMD -MP -c $< -o $@

$(BUILD)/tests/emdb: $(patsubst %,$(BUILD)/tests/cli/%.o,$(CLI))
	$(CXX) $(FLAGS) $^ $(LDFLAGS) -o $@

-include $(wildcard $(BUILD)/tests/*.d $(BUILD)/tests/cli/*.d)

warnings:
	@tests/deps.sh doctest clang
	@$(PYTHON) tests/run.py --title warnings --timeout 1200 $(patsubst %,'tests/header/matrix.py -k %',Warnings_gcc Warnings_clang)

features:
	@$(PYTHON) tests/run.py --title features --timeout 1200 $(patsubst %,'tests/header/matrix.py -k %',Features_with_ttl Features_without_ttl)

# ThreadSanitizer is for the tests that start threads. It can't live with the places where some kernels put maps at random.
SAME_ADDRESSES = $(shell setarch -R true 2>/dev/null && echo setarch -R)
THREAD_TESTS = $(if $(TESTS),$(shell grep -lE 'std::(jthread|thread|async)|pthread_create' $(TESTS)))
sanitize: export ASAN_OPTIONS = detect_stack_use_after_return=1
sanitize: export UBSAN_OPTIONS = print_stacktrace=1
sanitize: export TSAN_OPTIONS = die_after_fork=0 detect_deadlocks=0
sanitize: deps
	@failed=; $(MAKE) $(SUBMAKE_FLAGS) all BUILD=build/address \
	    CXXFLAGS='-Og -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all' || failed=--failed=build; \
	$(PYTHON) tests/run.py --title 'address and undefined behaviour' --timeout 1200 $$failed \
	    $(call longest_first,$(TEST_PROGRAMS:$(BUILD)/%=build/address/%))
	@failed=; $(MAKE) $(SUBMAKE_FLAGS) all BUILD=build/thread TESTS='$(THREAD_TESTS)' \
	    CXXFLAGS='-O1 -g1 -fsanitize=thread' || failed=--failed=build; \
	$(SAME_ADDRESSES) $(PYTHON) tests/run.py --title threads --timeout 1200 $$failed \
	    $$($(MAKE) --no-print-directory -s BUILD=build/thread TESTS='$(THREAD_TESTS)' list-test-programs)

# --- the long proof: each tests/NAME/rules.mk adds NAME to CHECKS (and SOAKS) and has the target check-NAME (soak-NAME)

# How long `make soak` goes on.
MINUTES ?= 60
CHECKS :=
SOAKS :=
-include $(sort $(wildcard tests/*/rules.mk))

# All of them, whatever fails, and then the sum.
check:
	@mkdir -p $(BUILD); : > $(BUILD)/check_tally
	@failed=; for part in test test-long $(CHECKS:%=check-%); do \
	    echo "== $$part"; TEST_TALLY='$(CURDIR)/$(BUILD)/check_tally' $(MAKE) --no-print-directory $$part || failed="$$failed $$part"; \
	done; \
	echo; [ -z "$$failed" ] || echo "Failed:$$failed"; \
	$(PYTHON) tests/run.py --sum $(BUILD)/check_tally; [ -z "$$failed" ]

soak: $(SOAKS:%=soak-%)

.PHONY: check soak $(CHECKS:%=check-%) $(SOAKS:%=soak-%)

.PHONY: list-test-programs
list-test-programs:
	@echo $(TEST_PROGRAMS)

# --- programs for users to read and run

# examples/NAME.cpp, or all of examples/NAME/*.cpp, or both, make the program build/examples/NAME.
EXAMPLES := $(sort $(patsubst examples/%.cpp,build/examples/%,$(wildcard examples/*.cpp)) \
                   $(filter-out build/examples/cli,$(patsubst %/,build/%,$(dir $(wildcard examples/*/*.cpp)))))
examples: $(EXAMPLES) cli

.SECONDEXPANSION:
build/examples/%: $$(wildcard examples/$$*.cpp examples/$$*/*.cpp examples/$$*/*.hpp) emdb.hpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -O2 $(filter %.cpp,$^) $(LDFLAGS) -o $@

cli: build/emdb

build/cli/%.o: examples/cli/%.cpp | emdb.hpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) $(CLI_FEATURES) -O2 -MMD -MP -c $< -o $@

build/emdb: $(patsubst %,build/cli/%.o,$(CLI))
	$(CXX) $(FLAGS) -O2 $^ $(LDFLAGS) -o $@

-include $(wildcard build/cli/*.d)

include bench/rules.mk

build/bench/%: bench/%.cpp $(wildcard bench/*.hpp bench/*/*.hpp) emdb.hpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -O2 $< $(LDFLAGS) -o $@

demo: build/examples/index_files
	build/examples/index_files $(DIR)

bench: build/bench/bench
	build/bench/bench

format:
	@tests/deps.sh clang-format
	clang-format -i $(shell find src tests bench examples -name '*.[ch]pp')

clean:
	rm -rf build

FORCE:
