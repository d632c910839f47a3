# What looks at the tests and at the text of emdb rather than at what it does.
#
#   make check-mutants [MUTANTS=100] [MUTANTS_SEED=1]   how many small changes that break the engine the tests notice

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
