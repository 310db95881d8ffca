# One static binary in an empty image: no shell, no user database, no root. It is
# built on the builder's own processor for whichever is asked for:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v1.0.0 .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath \
    -ldflags="-s -w -X logto-email-relay/commands.stamped=$VERSION" -o /logto-email-relay .
RUN mkdir /record

FROM scratch
# The providers' certificates are checked against these roots.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /logto-email-relay /logto-email-relay
# A volume for the record in SQLite belongs to the user below when it is mounted here.
COPY --from=build --chown=65532:65532 /record /var/lib/logto-email-relay
USER 65532:65532
WORKDIR /etc/logto-email-relay
# Without the file it does not start: development mode is not for containers.
ENV RELAY_CONFIG=/etc/logto-email-relay/config.json
# Where the relay leaves its address for the health check below. Engines put memory
# there, so that it may be written in a container that is read-only.
ENV RUNTIME_DIRECTORY=/dev/shm
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/logto-email-relay", "healthcheck"]
# Longer than the clean stop takes: see docs/operations.md.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/logto-email-relay"]
