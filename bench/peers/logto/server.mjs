// Logto's own SMTP connector, called the way Logto calls it, behind the least
// HTTP server that can be. Inside Logto there is more work around it.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import createConnector from '@logto/connector-smtp';

const env = process.env;
const content = readFileSync(env.TEMPLATE, 'utf8');
const template = (usageType) => ({
  usageType,
  contentType: 'text/html',
  subject: '{{code}} is your code for {{application.name}}',
  content,
});

const config = {
  host: '127.0.0.1',
  port: Number(env.SMTP_PORT),
  fromEmail: 'Acme <no-reply@acme.example>',
  templates: ['Register', 'SignIn', 'ForgotPassword', 'Generic'].map(template),
  ...(env.SMTP_CA
    ? { requireTLS: true, tls: { ca: readFileSync(env.SMTP_CA, 'utf8') }, auth: { user: env.SMTP_USER, pass: env.SMTP_PASS } }
    : { ignoreTLS: true, auth: {} }),
};

const connector = await createConnector({ getConfig: async () => config });

async function answer(request) {
  if (request.url === '/healthz') {
    return 200;
  }
  if (request.headers.authorization !== env.AUTHORIZATION) {
    return 401;
  }
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  try {
    await connector.sendMessage(JSON.parse(Buffer.concat(chunks).toString('utf8')));
    return 200;
  } catch {
    return 503;
  }
}

createServer(async (request, response) => {
  response.statusCode = await answer(request);
  response.end();
}).listen(Number(env.PORT), '127.0.0.1');
