# Courier, which takes five connections from one address. It looks up the sender's
# domain at MAIL, 8 seconds where no name server answers: there is none for the test.
install() { apt-get install -y -qq --no-install-recommends courier-mta; }

start() {
	sed -i "s/^ADDRESS=.*/ADDRESS=127.0.0.1/; s/^PORT=.*/PORT=$PORT/; s/^BOFHCHECKDNS=.*/BOFHCHECKDNS=0/" /etc/courier/esmtpd
	printf ':[127.0.0.1],%s\n' "$SINK" >/etc/courier/esmtproutes
	printf '127.0.0.1\tallow,RELAYCLIENT\n' >/etc/courier/smtpaccess/default
	echo courier.example >/etc/courier/me
	mkdir -p /run/courier && chown courier:courier /run/courier
	rm -f /run/courier/*.pid /run/courier/*.lock
	makesmtpaccess
	courier start
	esmtpd start
	trap 'esmtpd stop; courier stop; exit' TERM
	sleep infinity &
	wait
}

provider() { echo '"ignoreTLS": true'; }
