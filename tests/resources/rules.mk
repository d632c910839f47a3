CHECKS += resources
SOAKS += resources

$(BUILD)/resources.o: tests/resources/resources.cpp $(BUILD)/tests/flags | deps emdb.hpp
	$(CXX) $(FLAGS) -O2 -MMD -MP -c $< -o $@

$(BUILD)/resources: $(BUILD)/resources.o $(BUILD)/tests/implementation.o $(BUILD)/tests/main.o
	$(CXX) $(FLAGS) $^ $(LDFLAGS) -o $@

-include $(BUILD)/resources.d

check-resources: $(BUILD)/resources
	@$(PYTHON) tests/run.py --title resources --timeout 600 $(BUILD)/resources

# Takes as long as it takes: a fixed number of operations, not of minutes, and 15 GB of disk and 8 of memory.
soak-resources: export EMDB_OPERATIONS = 50000000
soak-resources: export EMDB_LARGE = 1
soak-resources: $(BUILD)/resources
	@$(PYTHON) tests/run.py --title 'resources at length' --timeout 20000 $(BUILD)/resources
