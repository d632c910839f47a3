# emdb built for other systems and run here: Windows by Wine, ARM64 and big-endian s390x by QEMU, 32-bit x86 as it is.
CHECKS += platforms

PLATFORMS_BUILD = $(BUILD)/platforms
PLATFORMS_FLAGS = -std=$(STD) -O1 -I. -Itests -I$(PLATFORMS_BUILD)/include -w -pthread

windows_CXX = x86_64-w64-mingw32-g++-posix

# Of the system's headers, cross compilers get doctest's alone.
$(PLATFORMS_BUILD)/include/doctest:
	@mkdir -p $(@D)
	ln -sfn $$(dirname $$(echo '#include <doctest/doctest.h>' | $(CXX) $(CPPFLAGS) -x c++ -E - | sed -n 's/^# 1 "\(.*doctest\.h\)".*/\1/p' | head -n 1)) $@

# $(1): the platform.
define platform_rules
$(PLATFORMS_BUILD)/$(1)/%.o: tests/%.cpp emdb.hpp tests/platforms/rules.mk | $(PLATFORMS_BUILD)/include/doctest
	@mkdir -p $$(@D)
	$$($(1)_CXX) $(PLATFORMS_FLAGS) $$($(1)_FLAGS) -MMD -MP -c $$< -o $$@

$(PLATFORMS_BUILD)/$(1)/black_box: $(BLACK_BOX_TESTS:tests/%.cpp=$(PLATFORMS_BUILD)/$(1)/%.o) \
        $(PLATFORMS_BUILD)/$(1)/implementation.o $(PLATFORMS_BUILD)/$(1)/main.o
	$$($(1)_CXX) -static $$^ -o $$@

$(PLATFORMS_BUILD)/$(1)/%_test: $(PLATFORMS_BUILD)/$(1)/%_test.o $(PLATFORMS_BUILD)/$(1)/main.o
	$$($(1)_CXX) -static $$^ -o $$@
endef
$(foreach platform,windows aarch64 s390x i686,$(eval $(call platform_rules,$(platform))))
