// Prints what Logto's sign-in page shows when its connector cannot send a message.
//
// Reads {"config": {endpoint, authorization}, "language", "message": {to, type, payload, ip}}
// from standard input. The sentence around the relay's is Logto's own, put together as
// its server does.

import createConnector from '@logto/connector-http-email';
import phrases from '@logto/phrases';

const chunks = [];
for await (const chunk of process.stdin) {
  chunks.push(chunk);
}
const { config, language, message } = JSON.parse(Buffer.concat(chunks).toString('utf8'));

const connector = await createConnector({ getConfig: async () => config });
try {
  await connector.sendMessage(message);
} catch (error) {
  const frame = phrases[language].errors.connector[error.code];
  console.log(frame.replace('{{errorDescription}}', () => JSON.stringify(error.data)));
}
