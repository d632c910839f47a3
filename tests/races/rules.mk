# Races: an explorer of interleavings, for models of the lock-free structures.

CHECKS += races
SOAKS += races

RACES = $(BUILD)/races
RACES_MODEL = explorer shared_memory memory_hooks
RACES_PROGRAMS = $(RACES)/explorer_test

# The models are of what lies in src/, with other atomics.
$(RACES)/%.o: tests/races/model/%.cpp $(BUILD)/tests/flags
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -O2 -Isrc -MMD -MP -c $< -o $@

$(RACES)/%.o: tests/races/%.cpp $(BUILD)/tests/flags | deps
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -O2 -Isrc -MMD -MP -c $< -o $@

$(RACES)/%_test: $(RACES)/%_test.o $(RACES_MODEL:%=$(RACES)/%.o) $(BUILD)/tests/main.o
	$(CXX) $(FLAGS) $^ $(LDFLAGS) -o $@

-include $(wildcard $(RACES)/*.d)

check-races: $(RACES_PROGRAMS)
	$(PYTHON) tests/run.py --title races $(RACES_PROGRAMS)

# The random programs are others every time.
soak-races: $(RACES_PROGRAMS)
	@end=$$(($$(date +%s) + $(MINUTES) * 60)); while [ $$(date +%s) -lt $$end ]; do \
	    $(PYTHON) tests/run.py --title 'races, for long' $(RACES_PROGRAMS) || exit 1; done
