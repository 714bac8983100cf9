// Whether a document is AsyncAPI, and its examples are what it says, by the parser of the format's makers.
const { readFileSync } = require('node:fs');
const { Parser } = require('@asyncapi/parser');

// That there is a later version of the format than the one written.
const KNOWN = new Set(['asyncapi-latest-version']);

new Parser().parse(readFileSync(process.argv[2], 'utf8')).then(({ document, diagnostics }) => {
  const found = diagnostics.filter(({ code }) => !KNOWN.has(code));
  for (const { code, path, message } of found) console.error(`${path.join('.')}: ${message} (${code})`);
  if (!document || found.length > 0) process.exit(1);
  console.log(`${document.operations().all().length} operations, ${document.channels().all().length} channels`);
});
