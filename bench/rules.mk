# Benchmarks against other stores. bench/README.md says what is measured; `make bench` needs none of this.

PEERS := lmdb rocksdb leveldb sqlite kyotocabinet tkrzw wiredtiger
PEER_PROGRAMS := build/bench/peers/emdb build/bench/peers/emdb_encrypted build/bench/peers/limits \
    $(PEERS:%=build/bench/peers/%) build/bench/peers/rust
PEER_HEADERS := $(wildcard bench/peers/*.hpp bench/support/*.hpp)
COMPILE_PEER = $(CXX) $(FLAGS) -O2 -DNDEBUG

# A store that can't be installed or built is left out; the runner says so.
.PHONY: bench-peers peer-programs
bench-peers: peer-programs
	$(PYTHON) bench/run_peers.py --workload $(or $(WORKLOAD),table) --records $(or $(RECORDS),1000000) \
	    --report build/bench/peers.json --table build/bench/peers.md

peer-programs:
	@for peer in $(PEERS); do CPPFLAGS='$(CPPFLAGS)' tests/deps.sh $$peer || echo "Going on without $$peer."; done
	@$(MAKE) $(SUBMAKE_FLAGS) $(PEER_PROGRAMS) || echo 'Going on without what was not built.'

build/bench/peers/lmdb: LIBRARIES = -llmdb
build/bench/peers/rocksdb: LIBRARIES = -lrocksdb
build/bench/peers/leveldb: LIBRARIES = -lleveldb
build/bench/peers/sqlite: LIBRARIES = -lsqlite3
build/bench/peers/kyotocabinet: LIBRARIES = -lkyotocabinet
build/bench/peers/tkrzw: LIBRARIES = -ltkrzw
build/bench/peers/wiredtiger: LIBRARIES = -lwiredtiger

build/bench/peers/emdb build/bench/peers/limits: emdb.hpp

build/bench/peers/emdb_encrypted: bench/peers/emdb.cpp emdb.hpp $(PEER_HEADERS)
	@mkdir -p $(@D)
	$(COMPILE_PEER) -DEMDB_ENCRYPT=1 $< $(LDFLAGS) -o $@

build/bench/peers/%: bench/peers/%.cpp $(PEER_HEADERS)
	@mkdir -p $(@D)
	$(COMPILE_PEER) $< $(LDFLAGS) $(LIBRARIES) -o $@

# redb, sled, fjall and the original emdb, where there is cargo and its registry can be reached.
build/bench/peers/rust: $(wildcard bench/peers/rust/src/*.rs) bench/peers/rust/Cargo.toml
	@mkdir -p $(@D)
	@command -v cargo >/dev/null || { echo 'The stores in Rust are left out: there is no cargo.'; exit 1; }
	cargo build --quiet --release --manifest-path bench/peers/rust/Cargo.toml --target-dir build/rust
	cp build/rust/release/rust $@

# Against OpenSSL and libsodium, and LMDB: tests/deps.sh openssl libsodium lmdb
build/bench/crypto: LDFLAGS += -lcrypto -lsodium
build/bench/ranges: LDFLAGS += -llmdb

# Fails if emdb has become slow against the bare probes; less than a minute.
.PHONY: bench-smoke
bench-smoke:
	@CPPFLAGS='$(CPPFLAGS)' tests/deps.sh doctest
	@$(MAKE) --no-print-directory build/bench/smoke
	@$(PYTHON) tests/run.py --title 'bench smoke' --timeout 300 build/bench/smoke
