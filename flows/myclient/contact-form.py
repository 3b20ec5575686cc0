"""A form in a browser: GET shows it, POST answers with a page of its own instead of JSON."""

import html

import flow_api

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Contact</title></head>
<body>
{content}
</body>
</html>
"""

FORM = """<form method="post">
<label>Your name <input name="name" required></label>
<label>Your message <input name="message" required></label>
<button>Send</button>
</form>"""


def handler(system: flow_api.System, this: flow_api.Execution):
    inputs = this.get("input_value")
    if inputs["method"] == "GET":
        return this.webhook_html_response(PAGE.format(content=FORM))

    form = inputs["json"] or {}
    name = form.get("name", "")
    this.log("message", sender=name, text=form.get("message", ""))
    # Whatever comes from outside is escaped before it becomes part of a page.
    thanks = f"<p>Thank you, {html.escape(name)}. We will write back.</p>"
    return this.webhook_html_response(PAGE.format(content=thanks))
