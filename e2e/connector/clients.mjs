// Looks at mails as HTML, a list of texts on standard input, with html-validate
// and with what caniemail.com knows of mail programs, and prints which rules they
// break and which features some program lacks.

import { readFileSync } from 'node:fs';
import { doIUseEmail } from 'doiuse-email';
import { HtmlValidate } from 'html-validate';

const programs = ['outlook.windows', 'outlook.ios', 'outlook.android', 'gmail.*', 'apple-mail.*', 'yahoo.*', 'samsung-email.*'];
const validator = new HtmlValidate({ extends: ['html-validate:recommended'] });

const rules = new Set();
const features = new Set();
for (const html of JSON.parse(readFileSync(0, 'utf8'))) {
  const { results } = await validator.validateString(html);
  for (const { ruleId } of results.flatMap(({ messages }) => messages)) {
    rules.add(ruleId);
  }
  for (const error of doIUseEmail(html, { emailClients: programs }).errors ?? []) {
    features.add(error.match(/^`([^`]*)`/)[1]);
  }
}
console.log(JSON.stringify({ rules: [...rules].sort(), features: [...features].sort() }));
