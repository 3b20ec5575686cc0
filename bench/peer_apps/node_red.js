// The job of bench/answers.py as a Node-RED flow: prints flows.json. http in, one function, http response.
const job = `
const { key, ...data } = msg.payload;
if (key !== env.get("HOOK_KEY")) {
  msg.statusCode = 401;
  msg.payload = { code: "invalid_key" };
  return msg;
}
const total = data.items.reduce((sum, item) => sum + item.qty * item.price, 0);
msg.payload = {
  status: "ENDED_SUCCESS",
  input_value: { headers: msg.req.headers, json: data },
  output_value: { greeting: "Hello " + data.name, total },
};
return msg;`;

console.log(JSON.stringify([
  { id: "tab", type: "tab", label: "webhooks", disabled: false, info: "" },
  { id: "in", type: "http in", z: "tab", name: "", url: "/api/webhook/:client/:webhook", method: "post",
    upload: false, swaggerDoc: "", x: 120, y: 80, wires: [["job"]] },
  { id: "job", type: "function", z: "tab", name: "job", func: job, outputs: 1, timeout: "", noerr: 0,
    initialize: "", finalize: "", libs: [], x: 320, y: 80, wires: [["out"]] },
  { id: "out", type: "http response", z: "tab", name: "", statusCode: "", headers: {}, x: 520, y: 80, wires: [] },
]));
