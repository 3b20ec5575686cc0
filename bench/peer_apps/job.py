"""The job of bench/answers.py as the command of adnanh/webhook: payload and headers as JSON arguments, answer printed.

The payload still holds the key, which webhook itself has compared; it is taken out as whd does.
"""

import json
import sys

data = json.loads(sys.argv[1])
del data["key"]
headers = {name.lower(): value for name, value in json.loads(sys.argv[2]).items()}
total = sum(item["qty"] * item["price"] for item in data["items"])
output = {"greeting": "Hello " + data["name"], "total": total}
print(
    json.dumps({"status": "ENDED_SUCCESS", "input_value": {"headers": headers, "json": data}, "output_value": output})
)
