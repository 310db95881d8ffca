// Sends one message through one of Logto's email connectors, with every request
// to its service led to a recorder instead.
//
// Reads {"connector", "config", "message", "recorder": "http://host:port"} from
// standard input; SMTP has its server in the config instead of a recorder. Ends with an error if the connector reports one.

import http from 'node:http';
import https from 'node:https';
import { syncBuiltinESMExports } from 'node:module';
import { urlToHttpOptions } from 'node:url';

const chunks = [];
for await (const chunk of process.stdin) {
  chunks.push(chunk);
}
const { connector: name, config, message, recorder } = JSON.parse(Buffer.concat(chunks).toString('utf8'));

// The services' addresses are constants of the connectors.
const target = recorder && new URL(recorder);
https.request = (...given) => {
  const callback = typeof given.at(-1) === 'function' ? given.pop() : undefined;
  const [first, second] = given;
  const asked =
    first instanceof URL || typeof first === 'string'
      ? { ...urlToHttpOptions(new URL(first)), ...second }
      : { ...first };
  const { agent, createConnection, host, ...options } = asked;
  return http.request({ ...options, protocol: 'http:', hostname: target.hostname, port: target.port }, callback);
};
syncBuiltinESMExports();

const { default: createConnector } = await import(`@logto/connector-${name}`);
const connector = await createConnector({ getConfig: async () => config });
try {
  await connector.sendMessage(message);
} catch (error) {
  console.error(error, JSON.stringify(error.data));
  process.exitCode = 1;
}
