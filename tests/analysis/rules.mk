# What looks at the tests and at the text of emdb rather than at what it does.
#
#   make check-mutants [MUTANTS=100] [MUTANTS_SEED=1]   how many small changes that break the engine the tests notice
#   make check-analysis    what clang-tidy, cppcheck and MemorySanitizer find: must be nothing
#   make coverage          which lines and branches of src/ the test programs run: build/coverage/report.txt, missed.txt, annotated/

CHECKS += analysis

COVERAGE_LINES_MIN ?= 95
COVERAGE_BRANCHES_MIN ?= 85

# Clang's counters, at places in src/ rather than in emdb.hpp: src/emdb.hpp includes the same files in the same order. The test of what
# hostile files cost counts basic blocks of its own; without optimisation compilers leave copies of secrets on the stack that nobody can
# wipe, which the test that searches memory for them finds.
COVERAGE = build/coverage
COVERAGE_PROGRAMS = $(filter-out %/hostile_cost_test %/encryption_secrecy_test,$(TEST_PROGRAMS:$(BUILD)/%=$(COVERAGE)/%))
COVERAGE_FLAGS = BUILD=$(COVERAGE) CXX=clang++ CPPFLAGS='-iquote src' \
    CXXFLAGS='-O0 -fprofile-instr-generate -fcoverage-mapping -w'

.PHONY: coverage
coverage:
	@tests/deps.sh doctest llvm
	@rm -rf $(COVERAGE)/raw; mkdir -p $(COVERAGE)/raw
	@$(MAKE) $(SUBMAKE_FLAGS) $(COVERAGE_FLAGS) $(COVERAGE_PROGRAMS)
	@LLVM_PROFILE_FILE=$(CURDIR)/$(COVERAGE)/raw/%m-%p.profraw $(PYTHON) tests/run.py --title coverage --timeout 1800 $(COVERAGE_PROGRAMS)
	@$(PYTHON) tests/analysis/coverage.py $(COVERAGE) $(COVERAGE_LINES_MIN) $(COVERAGE_BRANCHES_MIN) $(COVERAGE_PROGRAMS)

MUTANTS ?= 100
MUTANTS_SEED ?= 1

# Those that are about the engine, and quick enough.
MUTANT_TESTS = power_cut checkpoint checks ordered_index expiry_queues inspection nested compaction_faults compaction_threads \
    encryption encrypted_checkpoint encrypted_inspection encryption_tampering
BLACK_BOX_OBJECTS = $(BLACK_BOX_TESTS:tests/%.cpp=$(BUILD)/tests/%.o)
comma := ,
empty :=
blank := $(empty) $(empty)

.PHONY: check-mutants
check-mutants: $(BLACK_BOX_OBJECTS) $(BUILD)/tests/main.o
	@$(PYTHON) tests/analysis/mutants.py --count $(MUTANTS) --seed $(MUTANTS_SEED) \
	    tests/implementation.cpp=$(subst $(blank),$(comma),$^) $(MUTANT_TESTS:%=tests/%_test.cpp=$(BUILD)/tests/main.o)

# clang-tidy and cppcheck over the implementation, and MemorySanitizer.
check-analysis:
	@tests/deps.sh clang clang-tidy cppcheck || echo 'Going on without what is missing of these: it is skipped.'
	@$(PYTHON) tests/run.py --title analysis --timeout 1800 tests/analysis/analysis_check.py
