// The job of bench/answers.py for servers of the fetch kind: workerd gives the key as a binding, Deno in its environment.
const deno = globalThis.Deno;

function script(data) {
  const total = data.items.reduce((sum, item) => sum + item.qty * item.price, 0);
  return { greeting: "Hello " + data.name, total };
}

export default {
  async fetch(request, bindings) {
    const { key, ...data } = await request.json();
    if (key !== (deno ? deno.env.get("HOOK_KEY") : bindings.KEY)) {
      return Response.json({ code: "invalid_key" }, { status: 401 });
    }
    const given = { headers: Object.fromEntries(request.headers), json: data };
    return Response.json({ status: "ENDED_SUCCESS", input_value: given, output_value: script(data) });
  },
};
