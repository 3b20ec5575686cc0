"""The job of bench/answers.py as a FastAPI application; run by uvicorn, which bench/peers.py starts."""

import os
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

KEY = os.environ["HOOK_KEY"]

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


def script(data: dict[str, Any]) -> dict[str, Any]:
    """What the user wrote."""
    total = sum(item["qty"] * item["price"] for item in data["items"])
    return {"greeting": "Hello " + data["name"], "total": total}


@app.post("/api/webhook/{client}/{webhook}")
async def hook(client: str, webhook: str, request: Request) -> JSONResponse:
    """A webhook."""
    data = await request.json()
    if data.pop("key", None) != KEY:
        return JSONResponse({"code": "invalid_key"}, 401)
    given = {"headers": dict(request.headers), "json": data}
    return JSONResponse({"status": "ENDED_SUCCESS", "input_value": given, "output_value": script(data)})
