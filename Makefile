# sallyport: `make run` and `make test` need Go, make and git, and nothing else.

GO      ?= go
BIN     := bin/sallyport
VERSION ?= $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# Pinned: a newer tool must not turn the build red on its own.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
NFPM        := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.44.2

FUZZTIME ?= 10s

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/sallyport, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/sallyport

.PHONY: run
run: build ## run the gateway in the foreground with configs/sallyport.yaml
	@printf '%s\n' \
	  '' \
	  'In another terminal:' \
	  '  dig @127.0.0.1 -p 1053 us04web.zoom.us' \
	  '  curl -i -x 127.0.0.1:3128 http://zoom.us/' \
	  '  $(BIN) explain --ip 127.0.0.1 us04web.zoom.us' \
	  ''
	$(BIN) serve --config configs/sallyport.yaml

.PHONY: test
test: ## run every test
	$(GO) test -timeout 40m ./...

.PHONY: race
race: ## run every test of our own code with the race detector, in random order
	$(GO) test -race -shuffle=on -short -timeout 30m ./...

.PHONY: check
check: format vet staticcheck race policies promcheck ## what CI runs: format, vet, static analysis, race tests, shipped policies, dashboards against metrics
	@echo 'check: all good'

.PHONY: format
format: ## fail on files that gofmt would change
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not formatted:"; echo "$$out"; exit 1; }

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...

.PHONY: staticcheck
staticcheck: ## static analysis
	$(GO) run $(STATICCHECK) ./...

.PHONY: policies
policies: build ## check the shipped configuration, strictly, and run the policy's own tests
	$(BIN) check --config configs/sallyport.yaml --strict
	$(BIN) test --policy configs/policy.yaml

.PHONY: dashboards
dashboards: ## check the Grafana dashboards against Grafana's own types and our rules; needs node and npm
	cd dashboards/check && npm ci --ignore-scripts --silent && npm test --silent && npm run check --silent

.PHONY: promcheck
promcheck: build ## hold every query in dashboards, rules and docs against what the binary exports
	cd dashboards/promcheck && $(GO) vet . && $(GO) test . && $(GO) run . -binary ../../$(BIN) -root ../..

.PHONY: alerts
alerts: ## check the alerts and run their tests (Debian: prometheus, prometheus-alertmanager)
	promtool check rules --lint=all --lint-fatal dashboards/rules.yaml dashboards/alerts.yaml
	promtool test rules dashboards/tests/*.yaml
	amtool check-config dashboards/alertmanager.yaml

.PHONY: bench
bench: ## benchmarks of the decision, the tables, the doors
	$(GO) test -run '^$$' -bench . -benchmem ./policy ./identity ./audit ./dnsfilter ./proxy ./gateway

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 10s) each
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$pkg || exit 1; \
	  done; \
	done

.PHONY: demo
demo: ## play the memo on free ports, without internet, and print what each door said
	$(GO) run ./internal/demo

.PHONY: cover
cover: ## statement coverage of the policy package
	$(GO) test -coverprofile=cover.out -coverpkg=./policy ./policy
	$(GO) tool cover -func=cover.out | tail -1

DIST               ?= dist
IMAGE_ARCHITECTURES := amd64 arm64
SOURCE_DATE_EPOCH  ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1)

.PHONY: image
image: ## the container image, without an engine: dist/image (OCI layout), dist/image-ARCH.tar
	@mkdir -p $(DIST)
	@for arch in $(IMAGE_ARCHITECTURES); do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch GOAMD64=v1 GOARM64=v8.0 GOFLAGS= \
	    $(GO) build -trimpath -buildvcs=false -ldflags '-buildid= $(LDFLAGS)' \
	    -o $(DIST)/image-programs/$$arch ./cmd/sallyport || exit 1; \
	done
	$(GO) -C deploy/docker/image run . build --out '$(abspath $(DIST))' \
	  --version '$(VERSION)' --revision '$(COMMIT)' --created $(SOURCE_DATE_EPOCH) \
	  $(foreach arch,$(IMAGE_ARCHITECTURES),--program '$(arch)=$(abspath $(DIST))/image-programs/$(arch)')

.PHONY: image-check
image-check: ## that image, Dockerfile and compose.yaml fit each other, and run; see deploy/docker/check/doc.go
	for module in image check; do \
	  (cd deploy/docker/$$module && $(GO) vet ./... && $(GO) run $(STATICCHECK) ./...) || exit 1; \
	done
	$(GO) -C deploy/docker/check test -timeout 900s ./...

.PHONY: packages
packages: ## deb and rpm for amd64 and arm64, in dist/
	GO='$(GO)' VERSION='$(VERSION)' COMMIT='$(COMMIT)' NFPM='$(NFPM)' packaging/build packages

.PHONY: release
release: ## packages, tarballs, bills of materials and checksums, in dist/
	GO='$(GO)' VERSION='$(VERSION)' COMMIT='$(COMMIT)' NFPM='$(NFPM)' packaging/build release

.PHONY: kubernetes
kubernetes: build ## lint, render and decode the Helm chart and the kustomize bases, and run what they give
	cd deploy/kubernetes/check && $(GO) vet ./... && $(GO) test -timeout 300s ./...

.PHONY: kubernetes-files
kubernetes-files: ## copy policy, rules and dashboards to where Helm and kustomize read them
	cd deploy/kubernetes/check && $(GO) test -run '^TestCopies$$' -update .

.PHONY: release-check
release-check: ## test what lists a release's modules, and make a release twice: the same bytes
	cd packaging/sbom && $(GO) vet ./... && $(GO) test -timeout 300s ./...
	packaging/reproducible --quick amd64

.PHONY: clean
clean: ## remove what the build made
	rm -rf bin dist cover.out
