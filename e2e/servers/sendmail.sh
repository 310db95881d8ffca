# Sendmail with STARTTLS. It works however busy the machine is, and asks no name
# server, since there is none for the test.
install() {
	apt-get install -y -qq --no-install-recommends sendmail-bin sendmail-cf m4
	# Sendmail waits a minute for a machine that has no full name.
	echo "127.0.0.1 sendmail.example $(hostname)" >/tmp/hosts
	cat /etc/hosts >>/tmp/hosts
	cp /tmp/hosts /etc/hosts
}

start() {
	cat >/etc/mail/relay.mc <<-CONFIG
		include(\`/usr/share/sendmail/cf/m4/cf.m4')dnl
		OSTYPE(\`debian')dnl
		DOMAIN(\`debian-mta')dnl
		define(\`confDOMAIN_NAME', \`sendmail.example')dnl
		define(\`confSERVER_CERT', \`$CERT')dnl
		define(\`confSERVER_KEY', \`$KEY')dnl
		define(\`confCACERT', \`$CERT')dnl
		define(\`confCACERT_PATH', \`/etc/ssl/certs')dnl
		define(\`SMART_HOST', \`relay:[127.0.0.1]')dnl
		define(\`RELAY_MAILER_ARGS', \`TCP \$h $SINK')dnl
		define(\`confREFUSE_LA', \`1000')dnl
		define(\`confQUEUE_LA', \`1000')dnl
		FEATURE(\`no_default_msa')dnl
		FEATURE(\`accept_unresolvable_domains')dnl
		DAEMON_OPTIONS(\`Name=MTA, Addr=127.0.0.1, Port=$PORT')dnl
		MAILER(\`smtp')dnl
	CONFIG
	m4 /etc/mail/relay.mc >/etc/mail/sendmail.cf
	mkdir -p /var/run/sendmail/mta
	exec sendmail -bD -q5s
}

provider() { echo "\"requireTLS\": true, \"tls\": {\"ca\": \"$CERT\"}"; }
