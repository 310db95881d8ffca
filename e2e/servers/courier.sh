# Courier, which takes four connections from one address unless told otherwise.
install() { apt-get install -y -qq --no-install-recommends courier-mta; }

start() {
	sed -i "s/^ADDRESS=.*/ADDRESS=127.0.0.1/; s/^PORT=.*/PORT=$PORT/" /etc/courier/esmtpd
	printf ':127.0.0.1,%s\n' "$SINK" >/etc/courier/esmtproutes
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
