# emdb built for other systems and run here: Windows by Wine, ARM64 and big-endian s390x by QEMU, 32-bit x86 as it is.
# Everything that matters for a platform and no more: QEMU is slow, and each program takes a compiler 15 seconds.
CHECKS += platforms

PLATFORMS = windows aarch64 s390x i686
PLATFORMS_BUILD = $(BUILD)/platforms
# Warnings are looked for by warnings_check.py; GCC 12 gives false ones about its own library in some tests.
PLATFORMS_FLAGS = -std=$(STD) -O1 -I. -Itests -I$(PLATFORMS_BUILD)/include -w -pthread

windows_CXX = x86_64-w64-mingw32-g++-posix
aarch64_CXX = aarch64-linux-gnu-g++
s390x_CXX = s390x-linux-gnu-g++
i686_CXX = i686-linux-gnu-g++
native_CXX = $(CXX)
i686_FLAGS = -D_FILE_OFFSET_BITS=64

windows_EXE = .exe
windows_RUN = tests/platforms/wine.sh
aarch64_RUN = tests/platforms/qemu.sh aarch64
s390x_RUN = tests/platforms/qemu.sh s390x

windows_TESTS = black_box golden_test os_test checkpoint_test encryption_test async_test platforms/windows_processes_test
aarch64_TESTS = golden_test checks_test crypto_test aead_test os_test
s390x_TESTS = golden_test checks_test crypto_test
i686_TESTS = golden_test checks_test crypto_test os_test power_cut_test platforms/journal_map_test

# Each platform's programs, and exchange for all.
platform_programs = $(foreach test,$($(1)_TESTS) platforms/exchange,$(PLATFORMS_BUILD)/$(1)/$(test))
platform_runs = $(foreach test,$($(1)_TESTS),'$(if $($(1)_RUN),$($(1)_RUN) )$(PLATFORMS_BUILD)/$(1)/$(test)$($(1)_EXE)$(if $(filter %qemu.sh,$($(1)_RUN)), $($(test)_QEMU_OPTIONS))')
# QEMU does not pass on what is asked for memory that is to be kept out of dumps.
crypto_test_QEMU_OPTIONS = -tce=*core*dumps*

check-platforms:
	@CPPFLAGS='$(CPPFLAGS)' tests/deps.sh doctest
	@$(call try_deps,$(PLATFORMS:%=platform-%))
	@here=; for platform in $(PLATFORMS); do ! tests/deps.sh --has platform-$$platform || here="$$here $$platform"; done; \
	$(MAKE) $(SUBMAKE_FLAGS) run-platforms PLATFORMS_HERE="$$here"

# A command in front of the program of exchange.cpp for each platform; none where the platform's compiler is missing.
PLATFORMS_HERE = $(PLATFORMS)
platform_exchange = $(if $(filter $(1),$(PLATFORMS_HERE) native),$($(1)_RUN) $(PLATFORMS_BUILD)/$(1)/platforms/exchange$($(1)_EXE))
.PHONY: run-platforms
run-platforms: export EMDB_POWER_CUTS = 1000
run-platforms:
	@failed=; $(MAKE) $(SUBMAKE_FLAGS) $(foreach platform,$(PLATFORMS_HERE) native,$(call platform_programs,$(platform))) \
	    || failed='--failed=build'; \
	$(if $(filter windows,$(PLATFORMS_HERE)),$(windows_RUN) --init >$(PLATFORMS_BUILD)/wine.log 2>&1;) \
	$(PYTHON) tests/run.py --title platforms --timeout 600 $$failed \
	    $(if $(PLATFORMS_HERE),'tests/platforms/warnings_check.py $(foreach platform,$(PLATFORMS_HERE),$($(platform)_CXX))') \
	    'tests/platforms/exchange_check.py $(foreach platform,native $(PLATFORMS),$(platform)="$(call platform_exchange,$(platform))")' \
	    $(foreach platform,$(PLATFORMS_HERE),$(call platform_runs,$(platform))); \
	status=$$?; $(if $(filter windows,$(PLATFORMS_HERE)),$(windows_RUN) --end;) exit $$status

# Of the system's headers, cross compilers get doctest's alone.
$(PLATFORMS_BUILD)/include/doctest:
	@mkdir -p $(@D)
	ln -sfn "$$(dirname "$$(echo '#include <doctest/doctest.h>' | $(CXX) $(CPPFLAGS) -x c++ -M - | tr -d '\\' | tr ' ' '\n' | grep doctest.h)")" $@

# $(1): the platform.
define platform_rules
$(PLATFORMS_BUILD)/$(1)/%.o: tests/%.cpp tests/platforms/rules.mk | $(PLATFORMS_BUILD)/include/doctest emdb.hpp
	@mkdir -p $$(@D)
	$$($(1)_CXX) $$(PLATFORMS_FLAGS) $$($(1)_FLAGS) -MMD -MP -c $$< -o $$@

$(PLATFORMS_BUILD)/$(1)/black_box: $(BLACK_BOX_TESTS:tests/%.cpp=$(PLATFORMS_BUILD)/$(1)/%.o) \
        $(PLATFORMS_BUILD)/$(1)/implementation.o $(PLATFORMS_BUILD)/$(1)/main.o
$(PLATFORMS_BUILD)/$(1)/platforms/exchange: $(PLATFORMS_BUILD)/$(1)/platforms/exchange.o
$(PLATFORMS_BUILD)/$(1)/%_test: $(PLATFORMS_BUILD)/$(1)/%_test.o $(PLATFORMS_BUILD)/$(1)/main.o
	$$($(1)_LINK)
$(1)_LINK = $$($(1)_CXX) -static $$^ -pthread -o $$@$$($(1)_EXE)$$(if $$($(1)_EXE), && touch $$@)
$(PLATFORMS_BUILD)/$(1)/black_box $(PLATFORMS_BUILD)/$(1)/platforms/exchange:
	$$($(1)_LINK)
endef
$(foreach platform,$(PLATFORMS) native,$(eval $(call platform_rules,$(platform))))

-include $(wildcard $(PLATFORMS_BUILD)/*/*.d $(PLATFORMS_BUILD)/*/platforms/*.d)
