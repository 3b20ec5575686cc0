// The job of bench/answers.py as an n8n workflow: prints what `n8n import:workflow` reads. Webhook, one code node.
// A wrong key ends the workflow with an error, which n8n answers with 500: a switch before the code would cost more.
const code = `
const { headers, body } = $input.first().json;
const { key, ...data } = body;
if (key !== ${JSON.stringify(process.env.HOOK_KEY)}) throw new Error("invalid_key");
const total = data.items.reduce((sum, item) => sum + item.qty * item.price, 0);
return [{ json: {
  status: "ENDED_SUCCESS",
  input_value: { headers, json: data },
  output_value: { greeting: "Hello " + data.name, total },
} }];`;

console.log(JSON.stringify([{
  id: "whdbenchorder001", name: "order", active: false, settings: { executionOrder: "v1" },
  nodes: [
    { id: "webhook", name: "Webhook", type: "n8n-nodes-base.webhook", typeVersion: 2, position: [0, 0],
      webhookId: "whd-bench-order", parameters: { httpMethod: "POST", path: "order", responseMode: "lastNode", options: {} } },
    { id: "code", name: "Code", type: "n8n-nodes-base.code", typeVersion: 2, position: [220, 0],
      parameters: { mode: "runOnceForAllItems", jsCode: code } },
  ],
  connections: { Webhook: { main: [[{ node: "Code", type: "main", index: 0 }]] } },
}]));
