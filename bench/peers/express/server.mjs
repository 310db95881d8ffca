// What one writes by hand in an afternoon: Express, a pooled nodemailer, and a
// template whose placeholders are replaced. It is given what it needs to be
// fast: production mode, one connection for every mail under way, and the
// template read once.

import { readFileSync } from 'node:fs';
import express from 'express';
import nodemailer from 'nodemailer';

const env = process.env;
const html = readFileSync(env.TEMPLATE, 'utf8');
const text = 'Your code is {{code}}. It is valid for 10 minutes.\n\n{{application.name}}\n';

const transport = nodemailer.createTransport({
  pool: true,
  maxConnections: Number(env.CONCURRENCY),
  host: '127.0.0.1',
  port: Number(env.SMTP_PORT),
  ...(env.SMTP_CA
    ? { requireTLS: true, tls: { ca: readFileSync(env.SMTP_CA) }, auth: { user: env.SMTP_USER, pass: env.SMTP_PASS } }
    : { ignoreTLS: true }),
});

function fill(template, payload) {
  return template.replace(/{{\s*([\w.]+)\s*}}/g, (_, path) => {
    const value = path.split('.').reduce((at, key) => at?.[key], payload);
    return value === undefined ? '' : String(value);
  });
}

const app = express();
app.get('/healthz', (_, response) => response.send('ok\n'));
app.post('/logto/email', express.json({ limit: '64kb' }), async (request, response) => {
  if (request.get('authorization') !== env.AUTHORIZATION) {
    response.sendStatus(401);
    return;
  }
  const { to, type, payload } = request.body;
  if (typeof to !== 'string' || typeof type !== 'string' || typeof payload !== 'object') {
    response.sendStatus(422);
    return;
  }
  try {
    const { messageId } = await transport.sendMail({
      from: 'Acme <no-reply@acme.example>',
      to,
      subject: fill('{{code}} is your code for {{application.name}}', payload),
      html: fill(html, payload),
      text: fill(text, payload),
    });
    response.json({ id: messageId });
  } catch {
    response.sendStatus(503);
  }
});
app.listen(Number(env.PORT), '127.0.0.1');
