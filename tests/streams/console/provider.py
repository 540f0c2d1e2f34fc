"""An OpenID provider of the test's own: Authlib's server, spoken to over HTTP on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from streams.http.listening import Listen
from tests.streams.http.serving import serving

CLIENT = "tidewatch"
SECRET = "a-secret-of-the-client-of-this-test"
Change = Callable[[dict[str, Any], dict[str, Any]], None]


class Client:
    """The console, as it is registered there."""

    def __init__(self, redirect_uri: str) -> None:
        self.redirect_uri = redirect_uri

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, uri: str) -> bool:
        return uri == self.redirect_uri

    def check_client_secret(self, secret: str) -> bool:
        return secret == SECRET

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method in {"client_secret_basic", "client_secret_post"}

    def check_response_type(self, kind: str) -> bool:
        return kind == "code"

    def check_grant_type(self, kind: str) -> bool:
        return kind == "authorization_code"


class Asked(OAuth2Request):
    """A request in Authlib's form."""

    @property
    def args(self) -> dict[str, str]:
        return self.payload.data

    @property
    def form(self) -> dict[str, str]:
        return self.payload.data


class Code(SimpleNamespace):
    """What a code was given for."""

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class Provider(AuthorizationServer):
    """The provider; `person` signs in, and `change` spoils what it signs."""

    def __init__(self) -> None:
        super().__init__(scopes_supported=["openid", "profile", "email"])
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.published = [self.key]
        self.person: dict[str, Any] = {}
        self.change: Change | None = None
        self.forged: Callable[[dict[str, Any]], str] | None = None
        self.metadata: dict[str, Any] = {}
        self.reported: dict[str, Any] | None = None
        """What its UserInfo endpoint says; it has none by default."""
        self.read_with = "Bearer opaque"
        self.issuer = ""
        self.redirect_uri = ""
        self.codes: dict[str, Code] = {}
        self.asked: list[str] = []
        provider = self

        class Grant(AuthorizationCodeGrant):
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

            def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
                given = request.payload.data
                provider.codes[code] = Code(
                    code=code,
                    redirect_uri=given["redirect_uri"],
                    scope=given["scope"],
                    nonce=given.get("nonce"),
                    code_challenge=given.get("code_challenge"),
                    code_challenge_method=given.get("code_challenge_method"),
                )

            def query_authorization_code(self, code: str, _client: Client) -> Code | None:
                return provider.codes.get(code)

            def delete_authorization_code(self, code: Code) -> None:
                del provider.codes[code.code]

            def authenticate_user(self, _code: Code) -> dict[str, Any]:
                return provider.person

        class IdToken(OpenIDCode):
            def exists_nonce(self, _nonce: str, _request: OAuth2Request) -> bool:
                return False

            def resolve_client_private_key(self, _client: Client) -> RSAKey:
                return provider.key

            def get_client_algorithm(self, _client: Client) -> str:
                return "RS256"

            def get_client_claims(self, _client: Client) -> dict[str, Any]:
                return {"iss": provider.issuer, "exp": int(time.time()) + 300}

            def get_encode_header(self, _client: Client) -> dict[str, Any]:
                return {"alg": "RS256", "kid": provider.key.kid}

            def generate_user_info(self, user: dict[str, Any], _scope: str) -> UserInfo:
                return UserInfo(sub="p-1", **user)

        self.register_grant(Grant, [IdToken(require_nonce=True), CodeChallenge(required=True)])
        self.register_token_generator(
            "default",
            lambda scope=None, **_: {
                "access_token": "opaque",
                "token_type": "Bearer",
                "scope": scope,
            },
        )

    # -- what Authlib's server asks of a framework ------------------------------------------------

    def query_client(self, client_id: str) -> Client | None:
        return Client(self.redirect_uri) if client_id == CLIENT else None

    def save_token(self, token: dict[str, Any], request: OAuth2Request) -> None:
        """Nothing is asked with it."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Response:
        kept = dict(headers)
        kept.pop("Content-Type", None)
        if isinstance(body, dict):
            return JSONResponse(body, status, kept)
        return Response(body, status, kept)

    # -- its pages --------------------------------------------------------------------------------

    async def _request(self, request: Request) -> Asked:
        fields = dict(request.query_params) or dict(parse_qsl((await request.body()).decode()))
        made = Asked(
            request.method, f"https://id.example{request.url.path}", headers=request.headers
        )
        made.headers = {name.title(): value for name, value in request.headers.items()}
        made.payload = BasicOAuth2Payload(fields)
        return made

    async def authorize(self, request: Request) -> Response:
        self.asked.append(str(request.url))
        made = await self._request(request)
        grant = self.get_consent_grant(made, end_user=self.person)
        return self.create_authorization_response(made, grant_user=self.person, grant=grant)

    async def token(self, request: Request) -> Response:
        answer = self.create_token_response(await self._request(request))
        if self.change is None and self.forged is None:
            return answer
        import orjson  # noqa: PLC0415 -- only what is spoilt is read again

        body = orjson.loads(answer.body)
        if self.forged is not None:
            read = jwt.decode(body["id_token"], self.key)
            body["id_token"] = self.forged(dict(read.claims))
        elif self.change is not None:
            read = jwt.decode(body["id_token"], self.key)
            claims, header = dict(read.claims), {"alg": "RS256", "kid": self.key.kid}
            self.change(claims, header)
            body["id_token"] = jwt.encode(header, claims, self.key)
        return JSONResponse(body)

    async def discovery(self, _request: Request) -> Response:
        return JSONResponse({
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/logout",
            **({"userinfo_endpoint": f"{self.issuer}/me"} if self.reported is not None else {}),
            **self.metadata,
        })  # fmt: skip

    async def keys(self, _request: Request) -> Response:
        return JSONResponse(KeySet(self.published).as_dict(private=False))

    async def me(self, request: Request) -> Response:
        if request.headers.get("authorization") != self.read_with:
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse(self.reported)

    async def logout(self, request: Request) -> Response:
        return RedirectResponse(request.query_params["post_logout_redirect_uri"])


@contextmanager
def provider() -> Iterator[Provider]:
    """Run a provider until the end of the block."""
    made = Provider()
    routes = [
        Route("/.well-known/openid-configuration", made.discovery),
        Route("/authorize", made.authorize),
        Route("/token", made.token, methods=["POST"]),
        Route("/keys", made.keys),
        Route("/me", made.me),
        Route("/logout", made.logout),
    ]
    with serving(routes, listen=Listen(port=0)) as server:
        made.issuer = server.url
        yield made
