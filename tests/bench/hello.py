"""A bare Litestar application: what any service has to load before it answers."""

from __future__ import annotations

import sys

import uvicorn
from litestar import Litestar, get


@get("/healthz")
async def healthz() -> str:
    """Answer."""
    return "ok"


if __name__ == "__main__":
    uvicorn.run(Litestar([healthz], openapi_config=None), port=int(sys.argv[1]), log_level="warning", access_log=False)
