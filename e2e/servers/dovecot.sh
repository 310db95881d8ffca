# Dovecot's submission service, with STARTTLS and a login.
install() { apt-get install -y -qq --no-install-recommends dovecot-core dovecot-submissiond; }

start() {
	cat >/etc/dovecot/relay.conf <<-CONFIG
		protocols = submission
		listen = 127.0.0.1
		log_path = /dev/stderr
		ssl = required
		ssl_cert = <$CERT
		ssl_key = <$KEY
		passdb {
		  driver = static
		  args = password=correct-horse
		}
		userdb {
		  driver = static
		  args = uid=nobody gid=nogroup home=/tmp/dovecot
		}
		mail_location = mbox:/tmp/dovecot/mail
		hostname = dovecot.example
		submission_relay_host = 127.0.0.1
		submission_relay_port = $SINK
		service submission-login {
		  inet_listener submission {
		    port = $PORT
		  }
		}
	CONFIG
	mkdir -p /tmp/dovecot && chown nobody:nogroup /tmp/dovecot
	exec dovecot -F -c /etc/dovecot/relay.conf
}

provider() { echo "\"auth\": {\"user\": \"relay\", \"pass\": \"correct-horse\"}, \"tls\": {\"ca\": \"$CERT\"}, \"requireTLS\": true"; }
