# OpenSMTPD, which takes 100 mails a connection unless told otherwise.
install() { apt-get install -y -qq --no-install-recommends opensmtpd; }

start() {
	cat >/etc/smtpd.conf <<-CONFIG
		listen on 127.0.0.1 port $PORT
		action out relay host smtp://127.0.0.1:$SINK
		match from any for any action out
	CONFIG
	exec smtpd -d
}

provider() { echo '"ignoreTLS": true'; }
