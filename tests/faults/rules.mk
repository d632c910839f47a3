CHECKS += faults
SOAKS += faults

FAULTS = $(BUILD)/faults

$(FAULTS)/%.o: tests/faults/%.cpp $(BUILD)/tests/flags | deps emdb.hpp
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) $(WHOLE_PROGRAM) -MMD -MP -c $< -o $@

$(FAULTS)/%: $(FAULTS)/%.o $(BUILD)/tests/main.o
	$(CXX) $(FLAGS) $^ $(LDFLAGS) -o $@

-include $(wildcard $(FAULTS)/*.d)
