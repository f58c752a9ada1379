"""A provider of OpenID Connect on a local port: a code is good once, for whoever asked for it."""

import base64
import json
import secrets
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl, urlencode, urlsplit

CLIENT = ("client-7", "secret:of the server")
NAME = "Ada Lovelace"


class Provider(ThreadingHTTPServer):
    """Logs everybody in as `subject`, without asking."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.subject, self.codes, self.tokens, self.asked = "account-5f0c77", {}, {}, []

    def authorize(self, query):
        """Where the browser is sent back to."""
        asked = dict(parse_qsl(query))
        assert asked["client_id"] == CLIENT[0]
        assert (asked["response_type"], asked["scope"]) == ("code", "openid")
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(12)
        self.codes[code] = (asked["redirect_uri"], asked["code_challenge"], self.subject)
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form, authorization):
        """An access token for a code, or None."""
        given = dict(parse_qsl(form))
        place, challenge, subject = self.codes.pop(given["code"], ("", "", ""))
        made = base64.urlsafe_b64encode(sha256(given["code_verifier"].encode()).digest())
        basic = "Basic " + base64.b64encode(":".join(CLIENT).encode()).decode()
        is_right = made.rstrip(b"=").decode() == challenge and given["redirect_uri"] == place
        if not is_right or authorization != basic or given["grant_type"] != "authorization_code":
            return None
        token = secrets.token_urlsafe(12)
        self.tokens[token] = subject
        return token


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path, query = urlsplit(self.path).path, urlsplit(self.path).query
        self.server.asked.append(path)
        if path == "/.well-known/openid-configuration":
            names = ("authorization", "token", "userinfo")
            return self._say({f"{one}_endpoint": f"{self.server.address}/{one}" for one in names})
        if path == "/authorization":
            return self._say({}, 302, Location=self.server.authorize(query))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if path == "/userinfo" and token in self.server.tokens:
            return self._say({"sub": self.server.tokens[token], "name": NAME})
        return self._say({"error": "invalid_token"}, 401)

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        token = self.server.token(form, self.headers.get("Authorization"))
        if token is None:
            return self._say({"error": "invalid_grant"}, 400)
        return self._say({"access_token": token, "token_type": "bearer"})

    def _say(self, body, status=200, **headers):
        content = json.dumps(body).encode()
        self.send_response(status)
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words):
        pass


@contextmanager
def provider():
    """A provider that answers until the end."""
    with Provider() as one:
        Thread(target=one.serve_forever, daemon=True).start()
        try:
            yield one
        finally:
            one.shutdown()
