# Postfix, as Debian configures a machine that sends all through another.
install() {
	command -v postfix || apt-get install -y -qq --no-install-recommends postfix
	postconf -e "relayhost = [127.0.0.1]:$SINK" 'mydestination =' 'maillog_file = /dev/stdout' 'inet_interfaces = 127.0.0.1' \
		'inet_protocols = ipv4' 'smtpd_relay_restrictions = permit_mynetworks, reject' 'mynetworks = 127.0.0.0/8' \
		'alias_maps =' 'myhostname = postfix.example'
	postconf -MX smtp/inet 2>/dev/null || true
	postconf -M "$PORT/inet=$PORT inet n - n - - smtpd"
}

start() { exec postfix start-fg; }

provider() { echo '"ignoreTLS": true'; }
