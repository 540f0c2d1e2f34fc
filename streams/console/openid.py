"""Signs people in at an OpenID provider: authorization code, PKCE, and verified claims.

https://openid.net/specs/openid-connect-core-1_0.html, RFC 7636 and RFC 9207.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NoReturn
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3
from authlib.common.security import generate_token
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from cryptography.fernet import Fernet, InvalidToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from agents.logs import Logger
from schemas.conversion import Converter
from schemas.errors import TidewatchError
from streams.console.claims import lacks, viewer_of
from streams.console.config import OpenIdConfig, reached_safely
from streams.console.viewer import Viewer
from streams.http.problems import HttpError
from streams.http.secrets import equal, read_secrets

log = Logger()

CALLBACK: Final = "/sign-in/callback"
SIGN_IN_SECONDS: Final = 600
"""How long a sign-in at the provider may take."""
METADATA_SECONDS: Final = 3600.0
"""How long the provider's metadata and keys are cached; an unknown key is fetched at once."""
ANSWER_BYTES: Final = 1 << 20
TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=10.0)
LEEWAY: Final = 60
"""The tolerated difference of the provider's clock, seconds."""
MOST_TARGET: Final = 1_000
"""Longest address to return to after sign-in, which is kept in a cookie."""
STATE: Final = 43
"""Characters of a random value: 256 bits."""
ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
)
"""Accepted signatures: by a private key of the provider; not `none`, and no shared secret."""

_TOGETHER: Final = frozenset({"email", "email_verified"})
"""Claims of which one says whether the other holds: both are of one answer."""


class _Pending(msgspec.Struct, frozen=True):
    """A sign-in that was begun: the sealed state that the browser keeps until it returns."""

    state: str
    nonce: str
    verifier: str
    to: str


_SIGN_INS: Final = msgspec.json.Decoder(_Pending)


class _Provider(msgspec.Struct, frozen=True):
    """The provider's metadata that the console needs."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


_PROVIDER: Final = Converter(_Provider)


class OpenId:
    """One client of one OpenID provider."""

    def __init__(
        self, config: OpenIdConfig, url: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the secret; the provider is contacted at the first sign-in.

        Args:
            config: The provider, the client, and the meaning of claims.
            url: The console's address as browsers reach it.
            clock: Returns monotonic seconds.

        Raises:
            TidewatchError: The secret or the authorities can't be read.
        """
        self._config = config
        self._url = url.rstrip("/")
        self._clock = clock
        self._secret = read_secrets(config.client_secret, "oidc.client_secret")[0]
        self._seal = Fernet(Fernet.generate_key())
        self._lock = threading.Lock()
        self._known: tuple[_Provider, KeySet, float] | None = None
        try:
            context = ssl.create_default_context(cafile=config.ca)
        except (OSError, ssl.SSLError) as error:
            raise TidewatchError(
                "the authorities can't be read",
                where=f"oidc.ca {config.ca}",
                remedy="name a PEM file",
            ) from error
        self._http = urllib3.PoolManager(ssl_context=context, retries=False, timeout=TIMEOUT)

    @property
    def name(self) -> str:
        """The name of the provider's host, for people."""
        return urlsplit(self._config.issuer).netloc

    def begin(self, to: str) -> tuple[str, str]:
        """Return the address to send a browser to, and the state that it keeps until it returns.

        Args:
            to: The page to go on to, of this console.

        Raises:
            TidewatchError: The provider can't be asked.
        """
        provider, _ = self._provider()
        pending = _Pending(
            state=generate_token(STATE),
            nonce=generate_token(STATE),
            verifier=generate_token(64),
            to=to if len(to) <= MOST_TARGET else "/",
        )
        address = prepare_grant_uri(
            provider.authorization_endpoint,
            client_id=self._config.client_id,
            response_type="code",
            redirect_uri=self._url + CALLBACK,
            scope=" ".join(self._config.scopes),
            state=pending.state,
            nonce=pending.nonce,
            code_challenge=create_s256_code_challenge(pending.verifier),
            code_challenge_method="S256",
        )
        return str(address), self._seal.encrypt(msgspec.json.encode(pending)).decode("ascii")

    def finish(self, answer: Mapping[str, str], kept: str) -> tuple[Viewer, str]:
        """Return the person who returned from the provider, and the page to show next.

        Args:
            answer: The parameters that the provider sent the browser back with.
            kept: The state that the browser kept.

        Raises:
            HttpError: It was not begun in this browser, the provider does not confirm it, or the
                person has no access.
            TidewatchError: The provider can't be asked.
        """
        pending = self._pending(kept)
        if not equal(answer.get("state", ""), pending.state):
            raise _not_begun()
        # RFC 9207: reject an answer of another provider
        if answer.get("iss", self._config.issuer) != self._config.issuer:
            _refuse("the answer is another provider's", "iss")
        if "error" in answer or not answer.get("code"):
            log.info("openid-declined", error=answer.get("error", "")[:100])
            raise HttpError(
                HTTPStatus.FORBIDDEN, "the provider did not sign you in", remedy="sign in again"
            )
        provider, keys = self._provider()
        tokens = self._exchange(provider, answer["code"], pending.verifier)
        claims = self._verified(provider, keys, tokens, pending.nonce)
        if provider.userinfo_endpoint and lacks(claims, self._config):
            claims = self._completed(provider, tokens, claims)
        return viewer_of(claims, self._config), pending.to

    def end(self) -> str:
        """Return the provider's address for ending a session, "" if it has none.

        Raises:
            TidewatchError: The provider can't be asked.
        """
        provider, _ = self._provider()
        if not provider.end_session_endpoint:
            return ""
        query = urlencode(
            {
                "client_id": self._config.client_id,
                "post_logout_redirect_uri": f"{self._url}/sign-in",
            }
        )
        joint = "&" if urlsplit(provider.end_session_endpoint).query else "?"
        return f"{provider.end_session_endpoint}{joint}{query}"

    def _pending(self, kept: str) -> _Pending:
        try:
            raw = self._seal.decrypt(kept.encode("ascii", "replace"), ttl=SIGN_IN_SECONDS)
        except InvalidToken:
            raise _not_begun() from None
        return _SIGN_INS.decode(raw)

    def _exchange(self, provider: _Provider, code: str, verifier: str) -> dict[str, Any]:
        """Return the tokens for a code."""
        methods = provider.token_endpoint_auth_methods_supported
        method = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        body = urlencode(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._url + CALLBACK,
                "code_verifier": verifier,
            }
        )
        headers = {"content-type": "application/x-www-form-urlencoded"}
        auth = ClientAuth(self._config.client_id, self._secret, method)
        address, headers, body = auth.prepare("POST", provider.token_endpoint, headers, body)
        status, found = self._ask("POST", address, headers, body)
        if status != HTTPStatus.OK:
            error = found.get("error")
            log.warning("openid-code-refused", status=status, error=str(error)[:100])
            raise HttpError(
                HTTPStatus.FORBIDDEN,
                "the provider refused the code",
                remedy="sign in again; if it fails again, check the client's secret and address",
            )
        return found

    def _verified(
        self, provider: _Provider, keys: KeySet, tokens: Mapping[str, Any], nonce: str
    ) -> Mapping[str, Any]:
        """Return the claims of the ID token, which the provider signed, for us, now."""
        token = tokens.get("id_token")
        if not isinstance(token, str):
            _refuse("the provider gave no ID token", "id_token")
        try:
            header = jws.extract_compact(token.encode()).headers()
            kid = header.get("kid")
            if kid is not None and kid not in {key.kid for key in keys.keys}:
                provider, keys = self._provider(anew=True)
            decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={
                    "iss": {"essential": True, "value": provider.issuer},
                    "aud": {"essential": True, "value": self._config.client_id},
                    "nonce": {"essential": True, "value": nonce},
                },
                params={
                    "nonce": nonce,
                    "client_id": self._config.client_id,
                    "access_token": tokens.get("access_token"),
                },
            )
            claims.validate(leeway=LEEWAY)
        except _INVALID as error:
            log.warning("openid-token-refused", error=f"{type(error).__name__} {error}"[:200])
            _refuse("the provider's proof is not valid", "id_token")
        return decoded.claims

    def _completed(
        self, provider: _Provider, tokens: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return the claims with those that only the provider's UserInfo endpoint has.

        Providers need not repeat in the ID token the claims that an access token can read there:
        https://openid.net/specs/openid-connect-core-1_0.html#ScopeClaims
        """
        headers = {"authorization": f"Bearer {tokens.get('access_token')}"}
        status, found = self._ask("GET", provider.userinfo_endpoint, headers)
        if status != HTTPStatus.OK:
            log.warning("openid-userinfo-refused", status=status)
            _refuse("the provider does not name the user", "userinfo_endpoint")
        # an access token of another user does not identify who signed in
        if found.get("sub") != claims["sub"]:
            _refuse("the provider names another user", "userinfo_endpoint")
        whole = next((given for given in (claims, found) if given.keys() >= _TOGETHER), claims)
        return {**found, **claims, **{name: whole.get(name) for name in _TOGETHER}}

    def _provider(self, *, anew: bool = False) -> tuple[_Provider, KeySet]:
        """Return the provider's metadata and its keys."""
        with self._lock:
            if self._known is not None and not anew and self._clock() < self._known[2]:
                return self._known[0], self._known[1]
            issuer = self._config.issuer
            address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
            status, found = self._ask("GET", address)
            if status != HTTPStatus.OK:
                raise _away(f"it answered {status}", address)
            try:
                provider = _PROVIDER(found)
            except msgspec.ValidationError as error:
                raise _away(str(error), address) from error
            if provider.issuer != issuer:
                raise _away(f"it says that it is {provider.issuer[:200]}", address)
            addresses = (
                provider.authorization_endpoint,
                provider.token_endpoint,
                provider.jwks_uri,
                *filter(None, [provider.userinfo_endpoint, provider.end_session_endpoint]),
            )
            for url in addresses:
                if not reached_safely(url):
                    raise _away(f"it names {url[:200]}, which is not https", address)
            status, listed = self._ask("GET", provider.jwks_uri)
            if status != HTTPStatus.OK:
                raise _away(f"it answered {status}", provider.jwks_uri)
            try:
                keys = KeySet.import_key_set(listed)  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError) as error:
                raise _away("its keys can't be read", provider.jwks_uri) from error
            self._known = (provider, keys, self._clock() + METADATA_SECONDS)
            return provider, keys

    def _ask(
        self, method: str, address: str, headers: Mapping[str, str] | None = None, body: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON object of an answer; redirects are not followed."""
        try:
            answer = self._http.request(
                method,
                address,
                body=body or None,
                headers={"accept": "application/json", **(headers or {})},
                redirect=False,
                preload_content=False,
            )
            try:
                raw = answer.read(ANSWER_BYTES + 1, decode_content=True)
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            raise _away(type(error).__name__, address) from error
        try:
            found = msgspec.json.decode(raw) if len(raw) <= ANSWER_BYTES else None
        except msgspec.DecodeError:
            found = None
        if not isinstance(found, dict):
            if answer.status == HTTPStatus.OK:
                raise _away("its answer is not a JSON object", address)
            found = {}
        return answer.status, found


_INVALID: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError)
"""The errors of Authlib and joserfc about invalid tokens."""


def _refuse(what: str, where: str) -> NoReturn:
    raise HttpError(HTTPStatus.FORBIDDEN, what, where=where, remedy="sign in again")


def _not_begun() -> HttpError:
    return HttpError(
        HTTPStatus.FORBIDDEN,
        "this sign-in was not begun in this browser, or took too long",
        remedy="sign in again",
    )


def _away(why: str, where: str) -> TidewatchError:
    return TidewatchError(
        f"the OpenID provider can't be used: {why}",
        where=where,
        remedy="try again; if it stays so, compare the setting oidc with the provider",
    )
