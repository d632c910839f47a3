# What looks at the tests and at the text of emdb rather than at what it does.
#
#   make check-mutants [MUTANTS=100] [MUTANTS_SEED=1]   how many small changes that break the engine the tests notice
#   make check-analysis    what clang-tidy, cppcheck and MemorySanitizer find: must be nothing
#   make coverage          which lines and branches of src/ the test programs run: build/coverage/report.txt, missed.txt, annotated/

CHECKS += analysis
SOAKS += mutants

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

# What mutants are tried on: the tests that are linked into one program, those of the internals that are about the engine, a part of the
# lives with one thing failing, hostile files, the models, and threads under ThreadSanitizer.
MUTANT_TESTS = power_cut checkpoint checks ordered_index expiry_queues inspection nested compaction_faults compaction_threads golden kill \
    contract_features encryption encrypted_checkpoint encrypted_inspection encrypted_power_cut encryption_tampering
MUTANT_MODELS = hash_index_model ordered_index_model pins_model
BLACK_BOX_OBJECTS = $(BLACK_BOX_TESTS:tests/%.cpp=$(BUILD)/tests/%.o)
CORPUS_OBJECTS = $(FUZZ_CLI:%=$(BUILD)/tests/cli/%.o)
MODEL_OBJECTS = $(RACES_MODEL:%=$(RACES)/%.o)
THREAD_OBJECTS = $(RACES_THREAD_TESTS:%=$(RACES)/g++/%.o)

.PHONY: check-mutants soak-mutants
# Other mutants each time.
soak-mutants:
	@$(MAKE) --no-print-directory check-mutants MUTANTS_SEED=$$(date +%s)
check-mutants: export EMDB_FAULT_STEP = 400
check-mutants: export EMDB_POWER_CUTS = 5000
check-mutants: export EMDB_NONCE_RUNS = 300
check-mutants: export TSAN_OPTIONS = die_after_fork=0 detect_deadlocks=0 halt_on_error=1
check-mutants:
	@$(MAKE) $(SUBMAKE_FLAGS) $(BLACK_BOX_OBJECTS) $(CORPUS_OBJECTS) $(MODEL_OBJECTS) $(THREAD_OBJECTS) \
	    $(RACES)/g++/main.o $(BUILD)/tests/main.o
	@$(SAME_ADDRESSES) $(PYTHON) tests/analysis/mutants.py --count $(MUTANTS) --seed $(MUTANTS_SEED) \
	    --program black_box tests/implementation.cpp '$(BLACK_BOX_OBJECTS) $(BUILD)/tests/main.o' \
	    $(foreach test,$(MUTANT_TESTS),--program $(test)_test 'tests/$(test)_test.cpp $(WHOLE_PROGRAM)' $(BUILD)/tests/main.o) \
	    --program faults tests/faults/faults.cpp $(BUILD)/tests/main.o \
	    --program corpus_test tests/fuzz/corpus_test.cpp '$(CORPUS_OBJECTS) $(BUILD)/tests/main.o' \
	    $(foreach model,$(MUTANT_MODELS),--program $(model) 'tests/races/$(model).cpp -O2' '$(MODEL_OBJECTS) $(BUILD)/tests/main.o') \
	    --program threads 'tests/implementation.cpp -g1 -fsanitize=thread $(RACES_FEATURES)' '$(THREAD_OBJECTS) $(RACES)/g++/main.o'

# clang-tidy and cppcheck over the implementation, and MemorySanitizer.
check-analysis:
	@$(call try_deps,clang-runtime clang-tidy cppcheck)
	@$(PYTHON) tests/run.py --title analysis --timeout 1800 $(patsubst %,'tests/analysis/analysis_check.py -k %',clang_tidy uninitialized cppcheck)
