"""Style sheet, scripts and icon, each under a name with its digest; a browser keeps them for ever."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from barnraise.errors import NotFoundError
from coordinator.web.assets import assets
from coordinator.web.headers import IMMUTABLE, SECURITY, takes_gzip

__all__ = ["add_static_files"]


def add_static_files(app: FastAPI) -> None:
    """``/static/NAME``."""

    @app.api_route("/static/{name}", methods=["GET", "HEAD"])
    def static(request: Request, name: str) -> Response:
        asset = assets().get(name)
        if asset is None:
            raise NotFoundError("there is no such file beside the pages; reload the page that asked for it")
        headers = {**SECURITY, "cache-control": IMMUTABLE, "vary": "accept-encoding"}
        if not takes_gzip(request):
            return Response(asset.data, headers=headers, media_type=asset.media_type)
        headers["content-encoding"] = "gzip"
        return Response(asset.compressed, headers=headers, media_type=asset.media_type)
