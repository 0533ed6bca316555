"""Styles, scripts and fonts under an address that holds their hash; the service worker; the manifest."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.static_files import create_static_files_router

from returns_service.web.pages.rendering import ENVIRONMENT, FONTS, POLICY, STATIC, render_alone, static, static_version
from returns_service.web.pages.visitor import AnyRequest

_YEAR_SECONDS: Final = 365 * 86_400
FOR_EVER: Final = CacheControlHeader(public=True, max_age=_YEAR_SECONDS, immutable=True)


def static_routers() -> list[Router]:
    """Return the routers of files that never change under their address."""
    base = f"/static/{static_version()}"
    return [
        create_static_files_router(f"{base}/fonts", [FONTS], cache_control=FOR_EVER, name="static_fonts"),
        create_static_files_router(base, [STATIC], cache_control=FOR_EVER, name="static"),
    ]


@get("/sw.js", include_in_schema=False, name="service_worker", sync_to_thread=False)
def service_worker() -> Response[str]:
    """Return the dock's service worker: it lies at the root, since it may only answer for what lies beside or below."""
    script = ENVIRONMENT.get_template("sw.js").render()
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
    return Response(script, media_type="text/javascript", headers=headers)


@get("/manifest.webmanifest", include_in_schema=False, name="manifest", sync_to_thread=False)
def manifest() -> Response[dict[str, Any]]:
    """Return what a phone needs to put the pages on its home screen."""
    about: dict[str, Any] = {
        "name": "Returns",
        "short_name": "Returns",
        "start_url": "/receive",
        "display": "standalone",
        "background_color": "#f3f4f6",
        "theme_color": "#191b1f",
        "icons": [{"src": static("icon.svg"), "sizes": "any", "type": "image/svg+xml"}],
    }
    return Response(about, media_type="application/manifest+json", headers={"Cache-Control": "no-cache"})


@get("/offline", include_in_schema=False, name="offline", sync_to_thread=False)
def offline(request: AnyRequest) -> Response[str]:
    """Return the page that the service worker shows where the network is gone."""
    return render_alone(request, "offline.html", status=200)


HANDLERS: Final = (service_worker, manifest, offline)
