"""Our own answers: the page or document that says why, the way to sign in, the redirect to https."""

from libc.string cimport memset

from _fastpath.clearing cimport CLEARED_LIFE, clearings
from _fastpath.cookie cimport cookie_find
from _fastpath.errors cimport *
from _fastpath.exchange cimport STEP_ANSWER, Exchange
from _fastpath.head cimport *
from _fastpath.slice cimport Slice, of_bytes, slice_bytes
from _fastpath.snapshot cimport APP_SERVICE_401, App

import base64
import hashlib
import html
import http
import json
import os
from urllib.parse import quote

ACCESS_PATH = b"/cdn-cgi/access/"             # of control, on every host
cdef bytes NO_STORE = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
# On an application's host. The prefix keeps a sibling site from planting them: START binds a sign-in to the browser that
# began it (K08), CLEARED says that this browser was told a moment ago to drop what is not from us.
cdef bytes START = b"__Host-CF_AppSession"
cdef bytes CLEARED = b"__Host-CF_Cleared"
NONCE_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


cdef int answer(Exchange x, int reason) except -1:
    """Prepare the page (people) or the problem document (programs) that says why."""
    cdef str name = reason_name(reason).decode()
    cdef object page
    x.reason = reason
    x.status = reason_status(reason) or 400
    memset(&x.permit, 0, sizeof(x.permit))
    if reason <= R_PROXY_HEADER_INVALID:
        x.cp.counters.refused_bytes += 1
    ray = x.ray[:16]
    fields = [NO_STORE]
    page = x.live.pages.get(name) if x.navigation else None
    if page:
        language = "ja" if x.japanese and "ja" in page else "en"
        x.body = page[language].replace(b"@@request-id@@", ray)
        email = x.token.email.decode("utf-8", "replace") if x.token is not None else ""
        x.body = x.body.replace(b"@@email@@", html.escape(email).encode())
        fields.append(b"Content-Type: text/html; charset=utf-8\r\nContent-Language: %s\r\n" % language.encode())
        fields.append(x.live.page_fields)
    else:
        document = {"type": "about:blank", "title": http.HTTPStatus(x.status).phrase, "status": x.status,
                    "reason": name, "request_id": ray.decode()}
        x.body = json.dumps(document).encode() + b"\n"
        fields.append(b"Content-Type: application/problem+json\r\n")
    if x.status in (503, 502, 504):
        fields.append(b"Retry-After: 2\r\n")
    if reason == R_WEBSOCKET_VERSION:
        fields.append(b"Sec-WebSocket-Version: 13\r\n")
    if reason == R_METHOD_REFUSED:
        fields.append(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
    fields.append(b"Vary: Accept, Accept-Language, Cookie\r\n")
    x.fields = b"".join(fields)
    return STEP_ANSWER


cdef int answer_redirect(Exchange x, Head* h) except -1:
    """308 to https; the host is one of ours, so this redirects nobody to a stranger."""
    x.reason = R_HTTPS_REQUIRED
    x.status = 308
    location = (b"https://" + slice_bytes(x.cp.host) + x.live.suffix
                + slice_bytes(x.cp.path) + slice_bytes(h.query))
    x.fields = NO_STORE + b"Location: " + location + b"\r\nContent-Type: text/plain\r\n"
    x.body = b"This address is served over https only.\n"
    return STEP_ANSWER


cdef int answer_login(Exchange x, Head* h) except -1:
    """Nobody is signed in: send a browser to the sign-in page, tell a program where it is."""
    cdef const App* app = x.place.app
    cdef bytes host = slice_bytes(x.cp.host)
    cdef bytes nonce = start_nonce(h)
    cdef bytes digest, login
    if nonce is None:
        nonce = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=")
    digest = base64.urlsafe_b64encode(hashlib.sha256(nonce).digest()).rstrip(b"=")
    target = slice_bytes(x.cp.path) + slice_bytes(h.query)
    login = b"%s://%s%s%slogin/%s?kid=%s&redirect_url=%s&meta=%s" % (
        x.live.scheme, x.live.auth_domain, x.live.suffix, ACCESS_PATH, host, slice_bytes(app.aud),
        quote(target, safe="/").encode(), digest)
    # A program's page gets it, too: when it follows login_url, only this lets the browser come back signed in (K08).
    cookies = clear_cookies(x, h, app) + set_cookie(START, nonce, 86400)
    if x.reason == 0:
        x.reason = R_LOGIN_NEEDED
    if x.navigation and not (app.flags & APP_SERVICE_401 and h.count[<int>F_SEC_FETCH_MODE] == 0):
        if x.forged_cookie:
            if carries(h, CLEARED):
                # It did not go away, and signing in again would lead here again: a page ends the loop.
                answer(x, x.reason)
                x.fields += cookies
                return STEP_ANSWER
            cookies += set_cookie(CLEARED, b"1", CLEARED_LIFE)
        x.status = 302
        x.fields = NO_STORE + cookies + b"Location: " + login + b"\r\nVary: Accept, Cookie\r\n"
        x.body = b""
        return STEP_ANSWER
    x.status = 401
    document = {"type": "about:blank", "title": "Unauthorized", "status": 401,
                "reason": reason_name(x.reason).decode(), "login_url": login.decode("latin-1"),
                "request_id": x.ray[:16].decode()}
    x.body = json.dumps(document).encode() + b"\n"
    x.fields = (NO_STORE + cookies + b"Content-Type: application/problem+json\r\n"
                + b"WWW-Authenticate: Cloudflare-Access\r\nVary: Accept, Cookie\r\n")
    return STEP_ANSWER


cdef bytes set_cookie(bytes name, bytes value, int life):
    return b"Set-Cookie: %s=%s; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=Lax\r\n" % (name, value, life)


cdef bytes clear_cookies(Exchange x, Head* h, const App* app):
    """A stale session cookie is cleared; a doubtful one wherever a sibling site may have planted it (K01, K12)."""
    cdef bytes name = slice_bytes(app.cookie)
    if x.reason in (0, R_SESSION_MISSING):
        return b""
    if not x.forged_cookie:
        return set_cookie(name, b"", 0)
    return b"".join([b"Set-Cookie: %s\r\n" % line
                     for line in clearings(name, slice_bytes(x.cp.host), slice_bytes(h.path))])


cdef bytes only_cookie(Head* h, bytes name):
    """The value of the browser's one cookie of this name; None when it has none, or more than one."""
    cdef Slice found
    cdef int i, n = 0
    cdef bytes value = None
    for i in range(h.n_fields):
        if h.fields[i].id == F_COOKIE:
            n += cookie_find(h.fields[i].value, of_bytes(name), &found)
            if found.ptr != NULL:
                value = slice_bytes(found)
    return value if n == 1 else None


cdef bint carries(Head* h, bytes name):
    return only_cookie(h, name) is not None


cdef bytes start_nonce(Head* h):
    """The browser's start nonce, when it has exactly one that is well formed."""
    cdef bytes value = only_cookie(h, START)
    if value is not None and len(value) == 22 and all(c in NONCE_BYTES for c in value):
        return value
    return None
