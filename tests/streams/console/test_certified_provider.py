"""People sign in at a certified OpenID provider that other people wrote: npm's `oidc-provider`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests
from playwright.sync_api import expect

from streams.console.config import OpenIdConfig
from streams.console.openid import CALLBACK, OpenId
from streams.console.viewer import Role
from tests.streams.console.chromium import TIMEOUT_MS, chromium
from tests.streams.console.site import SECONDS, Site, site

HERE = Path(__file__).parent
INSTALLED = Path(__file__).parents[3] / ".venv" / "openid"
NODE = shutil.which("node")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        NODE is None or not INSTALLED.with_suffix(".stamp").is_file(),
        reason="no OpenID provider here: `make openid` brings it",
    ),
]
CLIENT, OTHER = "tidewatch", "another-client"
SECRET = "a-secret-of-both-clients-of-this-test"
PEOPLE = {
    "ada": {"email": "ada@acme.example", "email_verified": True, "groups": ["acme", "leads"]},
    "gus": {"email": "gus@globex.example", "email_verified": True, "groups": ["globex", "leads"]},
    "mallory": {"email": "ada@acme.example", "email_verified": False, "groups": ["acme"]},
    "nobody": {"email": "nobody@acme.example", "email_verified": True, "groups": []},
}
_FORM = re.compile(r'action="([^"]+)"')
_FIELD = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')


class Certified:
    """The provider, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.issuer = ""

    def change(self, **changed: object) -> None:
        """Change what the provider is made of, as `server.mjs` says."""
        self._process.stdin.write(json.dumps(changed) + "\n")
        self._process.stdin.flush()
        self.issuer = self._process.stdout.readline().strip()
        assert self.issuer, "the provider ended"


@pytest.fixture(scope="module")
def certified() -> Iterator[Certified]:
    script = HERE / "certified" / "server.mjs"
    with subprocess.Popen(
        [NODE, script, INSTALLED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        made = Certified(process)
        made.change()
        yield made
        process.stdin.close()
        assert process.wait(SECONDS) == 0


@pytest.fixture(scope="module")
def signing(index, certified) -> Iterator[Site]:
    """A console whose people sign in at the provider; it knows the two tenants' people."""
    config = OpenIdConfig(
        issuer=certified.issuer,
        client_id=CLIENT,
        client_secret="env:TIDEWATCH_TEST_SECRET",
        scopes=("openid", "email", "groups"),
        roles={"acme": Role.VIEWER, "globex": Role.VIEWER, "leads": Role.APPROVER},
        tenants={"acme": ("acme",), "globex": ("globex",)},
    )
    with pytest.MonkeyPatch.context() as patch, site(index) as made:
        patch.setenv("TIDEWATCH_TEST_SECRET", SECRET)
        client = {
            "client_secret": SECRET,
            "redirect_uris": [made.url + CALLBACK],
            "post_logout_redirect_uris": [f"{made.url}/sign-in"],
        }
        certified.change(
            clients=[{**client, "client_id": name} for name in (CLIENT, OTHER)], people=PEOPLE
        )
        made.services.openid = OpenId(config, made.url)
        yield made


class Person:
    """Somebody at a browser, who sends the provider's forms."""

    def __init__(self, console: Site) -> None:
        self.console = console
        self.session = requests.Session()

    def get(self, address: str) -> requests.Response:
        """Return an answer; redirects are not followed."""
        address = urljoin(self.console.url, address)
        return self.session.get(address, allow_redirects=False, timeout=SECONDS)

    def sent_back(self, login: str, begin: str = "") -> str:
        """Sign in at the provider, and return where it sends the browser back to."""
        address = begin or self.get("/sign-in/begin?to=/incidents").headers["location"]
        for _ in range(10):
            answer = self.get(address)
            while answer.status_code in {302, 303}:
                address = urljoin(address, answer.headers["location"])
                if address.startswith(self.console.url):
                    return address
                answer = self.get(address)
            action = urljoin(address, _FORM.search(answer.text)[1])
            fields = {**dict(_FIELD.findall(answer.text)), "login": login, "password": "any"}
            answer = self.session.post(action, fields, allow_redirects=False, timeout=SECONDS)
            address = urljoin(action, answer.headers["location"])
        raise AssertionError(address)

    def sign_in(self, login: str) -> requests.Response:
        return self.get(self.sent_back(login))

    def inside(self) -> bool:
        return self.get("/").status_code == 200


@pytest.mark.parametrize(
    ("login", "theirs", "others"), [("ada", "acme", "globex"), ("gus", "globex", "acme")]
)
def test_role_and_tenants_are_those_of_the_claims(signing, login, theirs, others):
    person = Person(signing)
    answer = person.sign_in(login)
    assert answer.status_code == 200, answer.text
    assert "url=/incidents" in answer.text
    text = person.get("/").text
    assert PEOPLE[login]["email"] in text
    assert "approver" in text
    assert theirs in text
    assert others not in text


@pytest.mark.parametrize(
    ("login", "said"), [("mallory", "not verified your address"), ("nobody", "has no role here")]
)
def test_a_refused_sign_in_says_why(signing, login, said):
    person = Person(signing)
    answer = person.sign_in(login)
    assert answer.status_code == 403
    assert said in answer.text
    assert not person.inside()


def test_a_code_serves_once_and_only_where_it_was_asked_for(signing):
    first, second = Person(signing), Person(signing)
    back = first.sent_back("ada")
    assert second.get(back).status_code == 403
    assert first.get(back).status_code == 200
    assert first.get(back).status_code == 403
    # the provider itself knows that the code was used
    pending = Person(signing)
    state = parse_qs(urlsplit(pending.get("/sign-in/begin").headers["location"]).query)["state"][0]
    code = parse_qs(urlsplit(back).query)["code"][0]
    answer = pending.get(f"{CALLBACK}?code={code}&state={state}")
    assert answer.status_code == 403
    assert "refused the code" in answer.text


def test_token_of_another_client_is_refused(signing):
    person = Person(signing)
    begun = person.get("/sign-in/begin").headers["location"]
    back = person.sent_back("ada", begun.replace(f"client_id={CLIENT}", f"client_id={OTHER}"))
    answer = person.get(back)
    assert answer.status_code == 403
    assert not person.inside()


@pytest.mark.parametrize("seconds", [-3600, 180], ids=["too old", "not yet"])
def test_a_token_of_another_time_is_refused(signing, certified, seconds):
    person = Person(signing)
    back = person.sent_back("ada")
    certified.change(clock=seconds)
    try:
        answer = person.get(back)
    finally:
        certified.change(clock=0)
    assert answer.status_code == 403
    assert "proof is not valid" in answer.text
    assert not person.inside()


def test_a_key_that_the_provider_changed_to_is_asked_for(signing, certified):
    assert Person(signing).sign_in("ada").status_code == 200
    certified.change(rotate="second")
    person = Person(signing)
    assert person.sign_in("ada").status_code == 200
    assert person.inside()


def test_somebody_who_cancels_is_not_signed_in(signing):
    person = Person(signing)
    answer = person.get(person.get("/sign-in/begin").headers["location"])
    page = urljoin(signing.services.openid.end(), answer.headers["location"])
    abort = re.search(r'href="([^"]+/abort)"', person.get(page).text)[1]
    address = urljoin(page, abort)
    while not address.startswith(signing.url):
        address = urljoin(address, person.get(address).headers["location"])
    assert "error=access_denied" in address
    answer = person.get(address)
    assert answer.status_code == 403
    assert "did not sign you in" in answer.text


def test_a_browser_goes_in_and_out(signing, played):
    """Cookies, redirects between sites and the pages' policy hold as a browser has them."""
    del played
    with chromium() as browser:
        context = browser.new_context(base_url=signing.url)
        context.set_default_timeout(TIMEOUT_MS)
        own = {urlsplit(signing.url).netloc, urlsplit(signing.services.openid.end()).netloc}
        # the provider's trial page asks for a font of elsewhere
        context.route(
            lambda address: urlsplit(address).netloc not in own, lambda route: route.abort()
        )
        page = context.new_page()
        page.goto("/incidents?q=litellm")
        page.get_by_role("link", name="Sign in").click()
        page.get_by_placeholder("Enter any login").fill("ada")
        page.get_by_placeholder("and password").fill("any")
        page.get_by_role("button", name="Sign-in").click()
        page.get_by_role("button", name="Continue").click()
        page.wait_for_url("**/incidents?q=litellm")
        expect(page.locator("body")).to_contain_text("ada@acme.example")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in?left=1")
        page.get_by_role("link", name="Sign out").click()
        page.get_by_role("button", name="Yes, sign me out").click()
        page.wait_for_url(f"{signing.url}/sign-in")
        page.goto("/incidents")
        expect(page.locator("main")).to_contain_text("Sign in")
        # and the provider asks again
        page.goto("/sign-in/begin")
        expect(page.get_by_placeholder("Enter any login")).to_be_visible()
        context.close()
