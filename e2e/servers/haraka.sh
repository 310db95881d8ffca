# Haraka, which hands each mail on before it accepts it.
install() {
	mkdir -p /srv/haraka/config
	cd /srv/haraka
	npm install --no-audit --no-fund --loglevel=error Haraka@3.3.4
	cp -r node_modules/Haraka/config/* config/ # it fails without some of them
}

start() {
	cd /srv/haraka/config
	printf 'listen=127.0.0.1:%s\nnodes=0\n' "$PORT" >smtp.ini
	printf 'haraka.example\n' >me
	printf 'relay\nqueue/smtp_forward\n' >plugins
	printf '[relay]\nacl=true\n' >relay.ini
	printf '127.0.0.1/32\n' >relay_acl_allow
	printf 'host=127.0.0.1\nport=%s\nenable_outbound=true\n' "$SINK" >smtp_forward.ini
	printf 'WARN\n' >loglevel
	exec node /srv/haraka/node_modules/Haraka/bin/haraka -c /srv/haraka
}

provider() { echo '"ignoreTLS": true'; }
