# Exim with its own defaults, such as 20 connections at a time.
install() { apt-get install -y -qq --no-install-recommends exim4-daemon-light; }

start() {
	cat >/etc/exim4/relay.conf <<-CONFIG
		primary_hostname = exim.example
		local_interfaces = 127.0.0.1
		daemon_smtp_ports = $PORT
		acl_smtp_rcpt = accept
		begin routers
		all:
		  driver = manualroute
		  route_list = * 127.0.0.1::$SINK
		  self = send
		  transport = out
		begin transports
		out:
		  driver = smtp
		  hosts_avoid_tls = *
	CONFIG
	exec exim4 -C /etc/exim4/relay.conf -bdf -q5s
}

provider() { echo '"ignoreTLS": true'; }
