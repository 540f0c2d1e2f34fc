"""OpenID sign-in: roles and tenants, and refused proofs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from schemas.errors import TidewatchError
from streams.console.claims import viewer_of
from streams.console.config import OpenIdConfig
from streams.console.openid import CALLBACK, OpenId
from streams.console.viewer import Role
from streams.http.problems import HttpError
from tests.streams.console.provider import CLIENT, SECRET, Provider, provider
from tests.streams.console.site import SECONDS, Site, site

ADA = {"email": "ada@acme.example", "email_verified": True, "groups": ["acme-soc", "leads"]}


def config(issuer: str = "https://id.example", **more) -> OpenIdConfig:
    return OpenIdConfig(
        **{
            "issuer": issuer,
            "client_id": CLIENT,
            "client_secret": "env:TIDEWATCH_TEST_SECRET",
            "roles": {"acme-soc": Role.ANALYST, "leads": Role.APPROVER, "root": Role.ADMIN},
            "tenants": {"acme-soc": ("acme",), "globex-soc": ("globex",), "root": ("*",)},
            **more,
        }
    )


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    with provider() as made:
        yield made


@pytest.fixture(scope="module")
def signing(index, issuer) -> Iterator[Site]:
    """A console whose people sign in at the provider."""
    with pytest.MonkeyPatch.context() as patch, site(index) as made:
        patch.setenv("TIDEWATCH_TEST_SECRET", SECRET)
        issuer.redirect_uri = made.url + CALLBACK
        made.services.openid = OpenId(config(issuer.issuer), made.url)
        yield made


@pytest.fixture(autouse=True)
def honest(issuer) -> None:
    """Begin each test with a provider that lies about nothing."""
    issuer.person = dict(ADA)
    issuer.change = issuer.forged = issuer.reported = None
    issuer.metadata.clear()
    issuer.published = [issuer.key]


class Person:
    """Somebody at a browser who is not signed in yet."""

    def __init__(self, console: Site) -> None:
        self.console = console
        self.session = requests.Session()

    def get(self, path: str, **more) -> requests.Response:
        return self.session.get(
            path if path.startswith("http") else self.console.url + path,
            allow_redirects=False,
            timeout=SECONDS,
            **more,
        )

    def at_provider(self, to: str = "/") -> str:
        """Go to the provider, and return where it sends the browser back to."""
        begun = self.get(f"/sign-in/begin?to={to}")
        assert begun.status_code == 303, begun.text
        answer = self.get(begun.headers["location"])
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def sign_in(self, to: str = "/") -> requests.Response:
        return self.get(self.at_provider(to), headers={"Sec-Fetch-Site": "cross-site"})

    def inside(self) -> bool:
        return self.get("/").status_code == 200


def test_somebody_signs_in_and_reads_what_their_groups_allow(signing):
    person = Person(signing)
    assert not person.inside()
    assert "Sign in at 127.0.0.1" in person.get("/sign-in").text
    answer = person.sign_in("/incidents%3Fq=a")
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/incidents?q=a">' in answer.text
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    text = person.get("/").text
    assert "ada@acme.example" in text
    assert "approver" in text
    assert "globex" not in text


def test_the_provider_is_asked_for_a_code_with_a_challenge_and_never_sees_the_verifier(
    signing, issuer
):
    person = Person(signing)
    issuer.asked.clear()
    person.sign_in()
    (asked,) = (parse_qs(urlsplit(request).query) for request in issuer.asked)
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["state"][0]) >= 43
    assert len(asked["nonce"][0]) >= 43
    assert "openid" in asked["scope"][0].split()
    assert "code_verifier" not in asked
    kept = [cookie.value for cookie in person.session.cookies]
    assert not any(part in value for value in kept for part in (asked["nonce"][0], "code_verifier"))


def test_nothing_of_one_sign_in_serves_another(signing):
    first, second = Person(signing), Person(signing)
    ours, theirs = first.at_provider(), second.at_provider()
    # as somebody would who sends a person the end of their own sign-in
    assert first.get(theirs).status_code == 403
    assert Person(signing).get(ours).status_code == 403
    assert not first.inside()
    assert first.get(ours).status_code == 200
    assert first.inside()
    assert first.get(ours).status_code == 403, "twice"


def _other_key(claims):
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, RSAKey.generate_key(2048))


def _unsigned(claims):
    import base64  # noqa: PLC0415 -- beside its use

    import orjson  # noqa: PLC0415 -- the same

    parts = ({"alg": "none"}, claims)
    return ".".join(
        base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=").decode() for part in parts
    ) + "."  # fmt: skip


def _shared(claims):
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))


@pytest.mark.parametrize("forge", [_other_key, _unsigned, _shared, lambda _: "x.y.z"])
def test_unsigned_id_token_is_refused(signing, issuer, forge):
    issuer.forged = forge
    person = Person(signing)
    answer = person.sign_in()
    assert answer.status_code == 403
    assert "proof is not valid" in answer.text
    assert not person.inside()


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://other.example"},
        {"aud": "another-client"},
        {"aud": [CLIENT, "another-client"]},
        {"aud": [CLIENT], "azp": "another-client"},
        {"nonce": "of-another-sign-in"},
        {"nonce": None},
        {"exp": timedelta(hours=-1)},
        {"exp": None},
        {"iat": timedelta(hours=1)},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_for_somebody_or_something_else_is_refused(signing, issuer, changed):
    def change(claims, _header):
        for name, value in changed.items():
            if value is None:
                claims.pop(name, None)
            elif isinstance(value, timedelta):
                claims[name] = int(time.time() + value.total_seconds())
            else:
                claims[name] = value

    issuer.change = change
    person = Person(signing)
    answer = person.sign_in()
    assert answer.status_code == 403, changed
    assert not person.inside()


# -- what an ID token lacks ----------------------------------------------------------------------


@pytest.fixture
def asking(index, issuer, monkeypatch) -> Iterator[Site]:
    """A console that asks this provider again what it is."""
    monkeypatch.setenv("TIDEWATCH_TEST_SECRET", SECRET)
    issuer.reported = {"sub": "p-1", **ADA}
    with site(index) as made:
        issuer.redirect_uri, before = made.url + CALLBACK, issuer.redirect_uri
        made.services.openid = OpenId(config(issuer.issuer), made.url)
        yield made
        issuer.redirect_uri = before


def test_missing_claims_come_from_the_userinfo_endpoint(asking, issuer):
    issuer.person = {"groups": ["acme-soc"]}
    person = Person(asking)
    assert person.sign_in().status_code == 200
    text = person.get("/").text
    assert "ada@acme.example" in text
    assert "analyst" in text, "what the token says is signed, and counts first"
    assert "approver" not in text


@pytest.mark.parametrize(
    ("token", "reported", "who"),
    [
        ({"email": "eve@acme.example"}, ADA, "ada@acme.example"),
        ({"email": "eve@acme.example", "email_verified": True}, ADA, "eve@acme.example"),
        ({"email": "eve@acme.example"}, {"email_verified": True}, None),
        ({"email_verified": True}, {"email": "eve@acme.example"}, None),
    ],
    ids=str,
)
def test_an_address_is_verified_by_the_answer_that_names_it(asking, issuer, token, reported, who):
    issuer.person, issuer.reported = token, {"sub": "p-1", "groups": ADA["groups"], **reported}
    person = Person(asking)
    answer = person.sign_in()
    assert (answer.status_code == 200) == (who is not None), answer.text
    if who is not None:
        assert who in person.get("/").text


@pytest.mark.parametrize(
    ("reported", "said"),
    [
        ({**ADA, "sub": "p-2"}, "names another user"),
        (ADA, "names another user"),
        ({"sub": "p-1"}, "does not give your email"),
    ],
)
def test_userinfo_of_another_subject_is_refused(asking, issuer, reported, said):
    issuer.person, issuer.reported = {"name": "Ada"}, reported
    person = Person(asking)
    answer = person.sign_in()
    assert answer.status_code == 403
    assert said in answer.text
    assert not person.inside()


def test_an_access_token_that_the_userinfo_endpoint_refuses_is_no_proof(
    asking, issuer, monkeypatch
):
    issuer.person = {"name": "Ada"}
    monkeypatch.setattr(issuer, "read_with", "Bearer of-somebody-else")
    person = Person(asking)
    answer = person.sign_in()
    assert answer.status_code == 403
    assert "does not name the user" in answer.text
    assert not person.inside()


def test_a_key_that_the_provider_changed_to_is_asked_for(signing, issuer):
    Person(signing).sign_in()
    before = issuer.key
    issuer.key = RSAKey.generate_key(2048, {"kid": "two"})
    issuer.published = [before, issuer.key]
    try:
        person = Person(signing)
        assert person.sign_in().status_code == 200
        assert person.inside()
    finally:
        issuer.key = before


def test_an_answer_of_another_provider_is_refused(signing):
    person = Person(signing)
    back = person.at_provider()
    assert person.get(f"{back}&iss=https://other.example").status_code == 403
    assert not person.inside()


def test_a_refusal_of_the_provider_is_shown_without_its_text(signing):
    person = Person(signing)
    state = parse_qs(urlsplit(person.at_provider()).query)["state"][0]
    answer = person.get(
        f"{CALLBACK}?state={state}&error=access_denied&error_description=<b>click here</b>"
    )
    assert answer.status_code == 403
    assert "click here" not in answer.text


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example/", "/%5Cevil.example"])
def test_sign_in_redirects_to_no_other_site(signing, to):
    answer = Person(signing).sign_in(to)
    assert "evil" not in answer.text
    assert "url=/" in answer.text


def test_signing_out_ends_the_session_and_leads_to_the_provider(signing, issuer):
    person = Person(signing)
    person.sign_in()
    csrf = person.get("/").text.partition('name="csrf" value="')[2].partition('"')[0]
    out = person.session.post(
        f"{signing.url}/sign-out", {"csrf": csrf}, allow_redirects=False, timeout=SECONDS
    )
    assert out.headers["location"] == "/sign-in?left=1"
    assert not person.inside()
    assert "/sign-in/leave" in person.get("/sign-in?left=1").text
    left = person.get("/sign-in/leave").headers["location"]
    assert left.startswith(f"{issuer.issuer}/logout?client_id={CLIENT}&")


def test_the_one_time_link_is_off(signing):
    from tests.streams.console.site import OPERATOR  # noqa: PLC0415 -- beside its use

    token = signing.services.sessions.new_link(OPERATOR)
    person = Person(signing)
    assert person.get(f"/enter?token={token}").status_code == 404
    assert not person.inside()


def test_without_a_provider_its_pages_are_not_there(console):
    for path in ("/sign-in/begin", CALLBACK, "/sign-in/leave"):
        answer = requests.get(console.url + path, allow_redirects=False, timeout=SECONDS)
        assert answer.status_code == 404


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "http://other.example/token"},
        {"jwks_uri": ""},
        {"authorization_endpoint": None},
    ],
)
def test_a_provider_with_another_issuer_is_not_used(issuer, monkeypatch, metadata):
    monkeypatch.setenv("TIDEWATCH_TEST_SECRET", SECRET)
    issuer.metadata.update(metadata)
    with pytest.raises(TidewatchError, match="can't be used"):
        OpenId(config(issuer.issuer), "http://127.0.0.1:1").begin("/")


def test_unreachable_provider_is_reported(monkeypatch):
    monkeypatch.setenv("TIDEWATCH_TEST_SECRET", SECRET)
    made = OpenId(config("http://127.0.0.1:9"), "http://127.0.0.1:1")
    with pytest.raises(TidewatchError, match="can't be used"):
        made.begin("/")


# -- claims --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "role", "tenants"),
    [
        (ADA, Role.APPROVER, ("acme",)),
        ({**ADA, "groups": ["acme-soc", "globex-soc"]}, Role.ANALYST, ("acme", "globex")),
        ({**ADA, "groups": "root"}, Role.ADMIN, "*"),
        ({**ADA, "groups": ["root", "acme-soc", 7, None]}, Role.ADMIN, "*"),
    ],
)
def test_groups_give_the_highest_role_and_all_their_tenants(claims, role, tenants):
    viewer = viewer_of(claims, config())
    assert (viewer.name, viewer.role, viewer.tenants) == ("ada@acme.example", role, tenants)


@pytest.mark.parametrize(
    ("claims", "what"),
    [
        ({**ADA, "groups": []}, "no role"),
        ({**ADA, "groups": {"acme-soc": True}}, "no role"),
        ({**ADA, "groups": ["leads"]}, "no tenant"),
        ({**ADA, "email_verified": False}, "not verified"),
        ({**ADA, "email_verified": "true"}, "not verified"),
        ({**ADA, "email": ""}, "does not give"),
        ({**ADA, "email": "a\u202eb@acme.example"}, "does not give"),
        ({**ADA, "email": ["ada@acme.example"]}, "does not give"),
        ({**ADA, "email": "a" * 300}, "too long"),
    ],
)
def test_user_without_a_role_is_refused(claims, what):
    with pytest.raises(HttpError, match=what):
        viewer_of(claims, config())


def test_a_claim_may_be_within_another_or_have_stops_in_its_name():
    chosen = config(roles_claim="realm_access.roles", tenants_claim="https://acme.example/tenants",
                    name_claim="sub")  # fmt: skip
    claims = {
        "sub": "p-1",
        "realm_access": {"roles": ["leads"]},
        "https://acme.example/tenants": ["acme-soc"],
    }
    viewer = viewer_of(claims, chosen)
    assert (viewer.name, viewer.role, viewer.tenants) == ("p-1", Role.APPROVER, ("acme",))
