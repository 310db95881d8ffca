// Reads a list of texts as JSON and prints those that a linkifier finds a link in.
import { readFileSync } from 'node:fs';
import LinkifyIt from 'linkify-it';
import { find } from 'linkifyjs';

const fuzzy = LinkifyIt().set({ fuzzyLink: true, fuzzyEmail: true, fuzzyIP: true });
const linked = [];
for (const text of JSON.parse(readFileSync(0, 'utf8'))) {
  for (const form of [text, text.normalize('NFKC')]) {
    const links = [...(fuzzy.match(form) ?? []).map((m) => m.text), ...find(form).map((m) => m.value)];
    if (links.length > 0) linked.push({ text: form, links });
  }
}
console.log(JSON.stringify(linked));
