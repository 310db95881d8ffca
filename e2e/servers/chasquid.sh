# chasquid, with STARTTLS and a login. It delivers what is for its own domain.
install() { apt-get install -y -qq --no-install-recommends chasquid curl; }

start() {
	mkdir -p /etc/chasquid/certs/chasquid.example /etc/chasquid/domains/example.org /etc/chasquid/domains/acme.example
	cp "$CERT" /etc/chasquid/certs/chasquid.example/fullchain.pem
	cp "$KEY" /etc/chasquid/certs/chasquid.example/privkey.pem
	echo '*: webhooks' >/etc/chasquid/domains/example.org/aliases
	printf 'correct-horse\ncorrect-horse\n' | chasquid-util user-add webhooks@example.org --password=correct-horse
	chasquid-util user-add no-reply@acme.example --password=correct-horse
	cat >/etc/chasquid/chasquid.conf <<-CONFIG
		hostname: "chasquid.example"
		submission_address: "127.0.0.1:$PORT"
		smtp_address: "127.0.0.1:0"
		monitoring_address: ""
		mail_delivery_agent_bin: "/usr/bin/curl"
		mail_delivery_agent_args: "-sS"
		mail_delivery_agent_args: "--crlf"
		mail_delivery_agent_args: "smtp://127.0.0.1:$SINK"
		mail_delivery_agent_args: "--mail-from"
		mail_delivery_agent_args: "no-reply@acme.example"
		mail_delivery_agent_args: "--mail-rcpt"
		mail_delivery_agent_args: "webhooks@example.org"
		mail_delivery_agent_args: "-T"
		mail_delivery_agent_args: "-"
		data_dir: "/var/lib/chasquid"
		mail_log_path: "<stdout>"
	CONFIG
	exec chasquid
}

provider() { echo "\"requireTLS\": true, \"auth\": {\"user\": \"no-reply@acme.example\", \"pass\": \"correct-horse\"}, \"tls\": {\"ca\": \"$CERT\"}"; }
