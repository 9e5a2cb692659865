# The verbs of the tree. Each does what its line says, on a machine with Go only.

.DEFAULT_GOAL := help
.PHONY: help build demo shop test race lint fuzz codecs sim mutants faults kills failover beside bench docs compat clean

# Variables that a caller may set: make fuzz FUZZTIME=5m, make sim SIM='-seeds 100000' (or '-seed 42' to replay one),
# make codecs CODECS='-codec-seed 42', make demo DEMO='--orders 500', make shop SHOP='--java all', make bench BENCH='--duration 30s'.
FUZZTIME ?= 10s
CODECS ?=
SIM ?=
MUTANTS ?=
DEMO ?=
SHOP ?=
BENCH ?=
KILLS ?= 4000
BESIDE ?= 5m
FAILOVER ?=

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/qiao
	go build -trimpath -o bin/qiao ./cmd/qiao

demo: build ## thousands of orders over four services, with crashes; ends with "consistent: yes"
	bin/qiao demo $(DEMO)

shop: ## a shop in Go and Java and the path of each transaction; SHOP='--rpc grpc --mode tcc --java stock' mixes it
	go run ./samples/shop $(SHOP)

test: ## everything that must hold before a commit, with the race detector; installs what it needs where it may
	@script/test

race: ## the tests alone, uncached, with the race detector
	go test -race -count=1 ./...

lint: ## gofmt, go vet, staticcheck and the rules of internal/tidy
	@script/test lint
	go test ./internal/tidy

fuzz: ## every fuzz target for FUZZTIME each
	@script/fuzz $(FUZZTIME)

codecs: ## 200,000 random messages through our codecs and Java's, both ways; CODECS='-codec-seed 42' repeats a run
	go test -count=1 -v ./internal/javapeer -run CodecsOfJava -codec-messages 200000 $(CODECS)

sim: ## the coordinator in a simulated world of crashes and loss, over many seeds
	go test -count=1 -v ./server/sim $(SIM)

mutants: ## mistakes in copies of our own source: each must be caught; MUTANTS='row locks' tries those with these words
	go run ./internal/mutants $(if $(MUTANTS),"$(MUTANTS)")

faults: ## processes and databases killed and stopped at every step of a transaction, many times
	go test -race -count=1 -v -timeout 60m ./internal/faults -long

kills: ## kill -9 of a process that writes to the store, KILLS times; what it acknowledged must be there
	go test -count=1 -timeout 2h -v ./storage/raft -run Killed -args -kills $(KILLS)

beside: ## our coordinator and a Java one on the same tables of MariaDB and MySQL, moved to and fro under load for BESIDE each (needs Maven)
	go test -count=1 -timeout 2h -v ./internal/sidebyside -long $(BESIDE)

failover: ## kill -9 of the leader of a cluster of three under load, ten times: how long nobody can begin; FAILOVER='-kills 100'
	go run ./internal/failover $(FAILOVER)

bench: build ## the server's speed at 1, 64 and 256 callers beside the ceiling of this machine
	@script/bench $(BENCH)

docs: ## regenerate what is generated under docs/
	go test ./server/txn ./internal/tidy -run Document -rewrite
	go test ./server/config -run Documentation -update

compat: ## Java clients of all versions on this coordinator and on Java's; prints docs/compatibility.md (needs Maven, takes half an hour)
	go test -count=1 -v -timeout 90m ./internal/compat -clients all -coordinators qiao,java -rewrite

clean: ## remove what the verbs built
	rm -rf bin .cache
