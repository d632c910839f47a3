CHECKS += faults
SOAKS += faults

FAULTS = $(BUILD)/faults

# The time goes into the simulated disk as much as into emdb.
$(FAULTS)/%.o: tests/faults/%.cpp $(BUILD)/tests/flags | deps emdb.hpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -O2 $(WHOLE_PROGRAM) -MMD -MP -c $< -o $@

# What the C++ library is to call must not be optimised away.
$(FAULTS)/faults.o: WHOLE_PROGRAM =
# For the names of functions where it hangs.
$(FAULTS)/faults: LDFLAGS += -rdynamic

$(FAULTS)/%: $(FAULTS)/%.o $(BUILD)/tests/main.o
	$(CXX) $(FLAGS) $^ $(LDFLAGS) -o $@

-include $(wildcard $(FAULTS)/*.d)

check-faults soak-faults: export EMDB_PROGRAMS = $(FAULTS)
check-faults soak-faults: export EMDB_COUNTS = $(FAULTS)/counts
# Every FAULT_STEP-th of some 48,000 lives, from another one on each time.
FAULT_STEP ?= 25
check-faults: $(FAULTS)/power_cuts $(FAULTS)/faults $(FAULTS)/full_disk
	@rm -f $(FAULTS)/counts
	@$(call try_deps,file-systems)
	@EMDB_FAULT_STEP=$(FAULT_STEP) $(PYTHON) tests/run.py --title faults --timeout 1800 \
	    tests/faults/power_cuts_test.py tests/faults/full_disk_test.py $(FAULTS)/faults; \
	status=$$?; cat $(FAULTS)/counts; exit $$status

soak-faults: $(FAULTS)/power_cuts $(FAULTS)/faults
	@rm -f $(FAULTS)/counts
	@$(PYTHON) tests/run.py --title 'all faults' --timeout 100000 $(FAULTS)/faults
	@EMDB_MINUTES=$(MINUTES) $(PYTHON) tests/run.py --title 'power cuts' --timeout 100000 tests/faults/power_cuts_test.py; \
	status=$$?; cat $(FAULTS)/counts; exit $$status
