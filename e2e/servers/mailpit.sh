# Mailpit, which relays all that it shows.
install() { command -v mailpit; }

start() {
	printf 'host: 127.0.0.1\nport: %s\n' "$SINK" >/tmp/relay.yaml
	exec mailpit --smtp "127.0.0.1:$PORT" --listen 127.0.0.1:0 --smtp-relay-config /tmp/relay.yaml --smtp-relay-all --database /tmp/mailpit.db
}

provider() { echo '"ignoreTLS": true'; }
