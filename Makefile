# The few things people do here. CI runs .ci/run.

.PHONY: run test build lint fuzz mutants campaign servers bench

run: ## development mode: webhook on :8080, inbox on :9090
	go run .

test: ## all tests; those that need a missing program are skipped
	go test -race ./...

build: ## one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o logto-email-relay .

lint: ## format, vet, and the linters of .golangci.yml with staticcheck among them
	gofmt -l . && go vet ./...
	go tool -modfile=.ci/tools/go.mod golangci-lint run ./...

fuzz: ## ten minutes for each parser of foreign input
	.ci/fuzz 10m

mutants: ## changes one operator at a time and runs the package's tests; hours for all, so name one: make mutants PACKAGES=./relay
	for package in $(or $(PACKAGES),$(shell go list -f '{{.Dir}}' ./... | grep -Ev '/(e2e|bench|deploy|hangups)$$')); do \
		go run github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0 unleash --timeout-coefficient 20 --workers 1 --output-statuses lt $$package || exit 1; done

campaign: ## the proof of docs/reliability.md: 100,000 webhooks through failing services and dying relays
	go test ./e2e -count=1 -v -timeout 2h -run '^TestCampaign$$' -campaign.webhooks 100000 -campaign.rate 500

servers: ## the matrix of docs/reliability.md: real mail servers, installed for the test alone, restarted under load; wants root
	go test ./e2e -count=1 -v -timeout 2h -run '^TestRealServers$$' -servers all -servers.mails 1000

bench: ## the relay beside what people use instead; docs/performance.md tells more
	go run ./bench
