# The few things people do here. CI runs .ci/run.

.PHONY: run test build lint fuzz

run: ## development mode: webhook on :8080, inbox on :9090
	go run .

test: ## all tests; those that need a missing program are skipped
	go test -race ./...

build: ## one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o logto-email-relay .

lint:
	gofmt -l . && go vet ./...
	go tool -modfile=.ci/tools/go.mod staticcheck ./...

fuzz: ## ten minutes for each parser of foreign input
	.ci/fuzz 10m
