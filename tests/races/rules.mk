# Races: models of the lock-free structures under every interleaving, and stress under ThreadSanitizer by each compiler there is.

CHECKS += races
SOAKS += races

RACES = $(BUILD)/races
RACES_MODEL = explorer shared_memory memory_hooks campaign surroundings
RACES_MODEL_TESTS = explorer_test hash_index_model journal_model ordered_index_model pins_model
RACES_THREAD_TESTS = pairs_test linearizability_test
RACES_COMPILERS := $(shell command -v g++ >/dev/null && echo g++; tests/deps.sh --has clang-runtime && echo clang++)
RACES_FEATURES = -DEMDB_ASYNC=1 -DEMDB_NESTED=1
RACES_PROGRAMS = $(RACES_MODEL_TESTS:%=$(RACES)/%) \
    $(foreach compiler,$(RACES_COMPILERS),$(RACES_THREAD_TESTS:%=$(RACES)/$(compiler)/%))

# The models are of what lies in src/, with other atomics.
$(RACES)/%.o: tests/races/model/%.cpp $(BUILD)/tests/flags
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -O2 -Isrc -MMD -MP -c $< -o $@

$(RACES)/%.o: tests/races/%.cpp $(BUILD)/tests/flags | deps
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -O2 -Isrc -MMD -MP -c $< -o $@

$(RACES_MODEL_TESTS:%=$(RACES)/%): $(RACES)/%: $(RACES)/%.o $(RACES_MODEL:%=$(RACES)/%.o) $(BUILD)/tests/main.o
	$(CXX) $(FLAGS) $^ $(LDFLAGS) -o $@

define races_compiler
$(RACES)/$(1)/%.o: tests/races/%.cpp emdb.hpp | deps
	@mkdir -p $$(@D)
	$(1) $$(FLAGS) -O1 -g1 -fsanitize=thread $$(RACES_FEATURES) -MMD -MP -c $$< -o $$@
$(RACES)/$(1)/%.o: tests/%.cpp emdb.hpp | deps
	@mkdir -p $$(@D)
	$(1) $$(FLAGS) -O1 -g1 -fsanitize=thread $$(RACES_FEATURES) -MMD -MP -c $$< -o $$@
$(RACES_THREAD_TESTS:%=$(RACES)/$(1)/%): $(RACES)/$(1)/%: $(RACES)/$(1)/%.o $(RACES)/$(1)/implementation.o $(RACES)/$(1)/main.o
	$(1) $$(FLAGS) -fsanitize=thread $$^ $$(LDFLAGS) -o $$@
endef
$(foreach compiler,$(RACES_COMPILERS),$(eval $(call races_compiler,$(compiler))))

-include $(wildcard $(RACES)/*.d $(RACES)/*/*.d)

.PHONY: check-races soak-races run-races
# Who clears holds 64 stripes at once; the detector of deadlocks has room for fewer.
check-races soak-races: export TSAN_OPTIONS = die_after_fork=0 detect_deadlocks=0 halt_on_error=1
soak-races: export MINUTES_OF_PAIRS = $(MINUTES)
soak-races: export SCALE = 100
soak-races: export RACES_TIMEOUT = $(shell echo $$(($(MINUTES) * 60 + 7200)))
check-races soak-races: export RACES_TIMEOUT ?= 1200
# In a make of its own, which knows what compilers there are by then.
check-races soak-races: deps
	@$(call try_deps,clang-runtime)
	@$(MAKE) $(SUBMAKE_FLAGS) run-races

run-races:
	@failed=; $(MAKE) $(SUBMAKE_FLAGS) $(RACES_PROGRAMS) || failed='--failed=build'; \
	$(SAME_ADDRESSES) $(PYTHON) tests/run.py --title races --timeout $(RACES_TIMEOUT) $$failed $(RACES_PROGRAMS)

# Locks, by valgrind's helgrind: two minutes, and 4 GB of memory.
CHECKS += helgrind
.PHONY: check-helgrind
check-helgrind:
	@CPPFLAGS='$(CPPFLAGS)' tests/deps.sh doctest
	@$(call try_deps,valgrind)
	@failed=; ! tests/deps.sh --has valgrind || $(MAKE) $(SUBMAKE_FLAGS) $(RACES)/lock_paths_test || failed='--failed=build'; \
	$(PYTHON) tests/run.py --title helgrind --timeout 1200 $$failed 'tests/races/helgrind_check.py $(RACES)/lock_paths_test'

$(RACES)/lock_paths_test.o: tests/races/lock_paths_test.cpp emdb.hpp $(BUILD)/tests/flags | deps
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -g -MMD -MP -c $< -o $@

$(RACES)/lock_paths_test: $(RACES)/lock_paths_test.o $(BUILD)/tests/main.o
	$(CXX) $(FLAGS) $^ $(LDFLAGS) -o $@
