// Prints the languages of Logto's sign-in page, as published, as a list of tags.

import { builtInLanguages } from '@logto/phrases-experience';

console.log(JSON.stringify(builtInLanguages));
