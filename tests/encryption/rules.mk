# Encryption at length: no nonce twice over 10,000 lives of files and their copies, and every bit of every frame and of the header flipped.

CHECKS += encryption
SOAKS += encryption

ENCRYPTION_TESTS = $(BUILD)/tests/encrypted_power_cut_test $(BUILD)/tests/encryption_tampering_test

check-encryption: export EMDB_NONCE_RUNS ?= 10000
check-encryption: export EMDB_EVERY_BIT = 1
check-encryption: $(ENCRYPTION_TESTS)
	@$(PYTHON) tests/run.py --title encryption --timeout 3600 $(ENCRYPTION_TESTS)

# Other lives each time. The seed is printed, and with EMDB_NONCE_RUNS=1 EMDB_SEED=that one life is lived again.
soak-encryption: export EMDB_POWER_CUTS = 2000
soak-encryption: export EMDB_NONCE_RUNS = 2000
soak-encryption: $(BUILD)/tests/encrypted_power_cut_test
	@end=$$(( $$(date +%s) + 60 * $(MINUTES) )); while [ $$(date +%s) -lt $$end ]; do \
	    EMDB_SEED=$$(date +%s)00000 && export EMDB_SEED && echo "EMDB_SEED=$$EMDB_SEED" && \
	    $(PYTHON) tests/run.py --title 'encryption, on and on' --timeout 3600 $< || exit 1; done
