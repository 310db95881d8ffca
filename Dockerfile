# One static binary in an empty image: no shell, no user database, no root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /logto-email-relay .

FROM scratch
# The providers' certificates are checked against these roots.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /logto-email-relay /logto-email-relay
USER 65532:65532
WORKDIR /etc/logto-email-relay
# Without the file it does not start: development mode is not for containers.
ENV RELAY_CONFIG=/etc/logto-email-relay/config.json
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/logto-email-relay", "healthcheck"]
# Longer than the clean stop takes: see docs/operations.md.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/logto-email-relay"]
