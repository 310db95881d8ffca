// Sends messages through Logto's own HTTP email connector.
//
// Reads {"config": {endpoint, authorization}, "messages": [{to, type, payload, ip}]}
// from standard input and writes one line of JSON for each message: {"ok": true},
// or what the connector throws, as Logto would hand it on: {"ok": false, code, data}.

import createConnector from '@logto/connector-http-email';

const chunks = [];
for await (const chunk of process.stdin) {
  chunks.push(chunk);
}
const { config, messages } = JSON.parse(Buffer.concat(chunks).toString('utf8'));

const connector = await createConnector({ getConfig: async () => config });

for (const message of messages) {
  try {
    await connector.sendMessage(message);
    console.log(JSON.stringify({ ok: true }));
  } catch (error) {
    console.log(JSON.stringify({ ok: false, name: error.name, code: error.code, data: error.data }));
  }
}
