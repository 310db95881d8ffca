# maddy, with STARTTLS and a login. It needs Go.
install() {
	GOBIN=/usr/local/bin go install github.com/foxcpp/maddy/cmd/maddy@v0.8.2
	mkdir -p /srv/maddy
	apt-get install -y -qq --no-install-recommends apache2-utils
}

start() {
	mkdir -p /run/maddy /var/lib/maddy
	cat >/srv/maddy/maddy.conf <<-CONFIG
		hostname maddy.example
		state_dir /var/lib/maddy
		runtime_dir /run/maddy
		log stderr
		tls file $CERT $KEY
		auth.pass_table accounts {
		  table static {
		    entry "no-reply@acme.example" "bcrypt:$(htpasswd -nbB x correct-horse | cut -d: -f2)"
		  }
		}
		submission tcp://127.0.0.1:$PORT {
		  auth &accounts
		  source acme.example {
		    deliver_to smtp tcp://127.0.0.1:$SINK {
		      attempt_starttls no
		      require_tls no
		    }
		  }
		  default_source {
		    reject 501 5.1.8 "Non-local sender domain"
		  }
		}
	CONFIG
	exec maddy -config /srv/maddy/maddy.conf run
}

provider() { echo "\"requireTLS\": true, \"auth\": {\"user\": \"no-reply@acme.example\", \"pass\": \"correct-horse\"}, \"tls\": {\"ca\": \"$CERT\"}"; }
