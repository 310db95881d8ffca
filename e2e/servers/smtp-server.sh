# smtp-server of nodemailer's author, with TLS from the first byte and a login, and
# five connections at a time.
install() {
	mkdir -p /srv/smtp-server
	cd /srv/smtp-server
	npm install --no-audit --no-fund --loglevel=error smtp-server@3.21.6 nodemailer@7.0.10
}

start() {
	cd /srv/smtp-server
	cat >server.cjs <<-'PROGRAM'
		const fs = require('fs');
		const { SMTPServer } = require('smtp-server');
		const next = require('nodemailer').createTransport({ host: '127.0.0.1', port: +process.env.SINK, ignoreTLS: true, pool: true });
		new SMTPServer({
		  secure: true, cert: fs.readFileSync(process.env.CERT), key: fs.readFileSync(process.env.KEY), maxClients: 5,
		  onAuth: ({ username, password }, session, done) =>
		    password === 'correct-horse' ? done(null, { user: username }) : done(new Error('no')),
		  onData(stream, { envelope }, done) {
		    const parts = [];
		    stream.on('data', (part) => parts.push(part)).on('end', () => next.sendMail({
		      envelope: { from: envelope.mailFrom.address, to: envelope.rcptTo.map((to) => to.address) }, raw: Buffer.concat(parts),
		    }).then(() => done(), done));
		  },
		}).on('error', console.error).listen(+process.env.PORT, '127.0.0.1');
		process.on('SIGTERM', () => process.exit(0));
	PROGRAM
	exec node server.cjs
}

provider() { echo "\"secure\": true, \"auth\": {\"user\": \"relay\", \"pass\": \"correct-horse\"}, \"tls\": {\"ca\": \"$CERT\"}"; }
