// Prints the configuration form of Logto's console for each of its email
// connectors, as published: one JSON object from package to its form items.

const names = ['smtp', 'sendgrid-email', 'mailgun', 'aws-ses', 'postmark', 'aliyun-dm', 'smtp2go-email', 'mailjunky', 'http-email'];

const forms = {};
for (const name of names) {
  const { default: createConnector } = await import(`@logto/connector-${name}`);
  const connector = await createConnector({ getConfig: async () => ({}) });
  forms[name] = connector.metadata.formItems;
}
console.log(JSON.stringify(forms));
