"""Views that people save: their own alone, within limits, and kept when the index is not."""

from __future__ import annotations

import pytest

from schemas.errors import TidewatchError
from streams.console.saved_views import NAME, OF_A_PERSON, SavedViews
from streams.console.viewer import Role, Viewer
from streams.http.problems import HttpError
from tests.streams.console.played import indexed
from tests.streams.console.site import ACME, GLOBEX, OPERATOR, links, site
from tests.streams.console.test_pages import check_page

READER = Viewer(name="rea@acme.example", role=Role.VIEWER, tenants=("acme",))


@pytest.fixture
def desk(tmp_path):
    made = indexed(tmp_path, [])
    with site(made) as serving:
        yield serving
    made.close()


def test_a_view_is_saved_followed_replaced_and_deleted(desk):
    browser = desk.browser(READER)
    fields = {"csrf": browser.csrf(), "name": "Night shift"}
    query = "severity=high&status=new&status=contained&page=3&csrf=x"
    answer = browser.post("/views/save", {**fields, "query": query})
    assert answer.status_code == 303
    kept = "/incidents?severity=high&status=new&status=contained"
    assert answer.headers["location"] == kept
    page = browser.get("/incidents").text
    check_page("saved", page)
    assert kept in links(page)
    browser.post("/views/save", {**fields, "query": "q=litellm"})
    assert kept not in links(browser.get("/incidents").text)
    assert "/incidents?q=litellm" in links(browser.get("/incidents").text)
    assert browser.post("/views/delete", fields).status_code == 303
    assert "Night shift" not in browser.get("/incidents").text


def test_nobody_sees_or_deletes_what_another_saved(desk):
    one = desk.browser(ACME)
    one.post("/views/save", {"csrf": one.csrf(), "name": "Mine alone", "query": "q=secret-name"})
    for viewer in (GLOBEX, OPERATOR):
        other = desk.browser(viewer)
        assert "Mine alone" not in other.get("/incidents").text
        other.post("/views/delete", {"csrf": other.csrf(), "name": "Mine alone"})
    assert "Mine alone" in one.get("/incidents").text


def test_a_form_of_another_session_saves_and_deletes_nothing(desk):
    browser = desk.browser(READER)
    browser.post("/views/save", {"csrf": browser.csrf(), "name": "kept", "query": ""})
    for path in ("/views/save", "/views/delete"):
        fields = {"csrf": desk.browser(ACME).csrf(), "name": "kept", "query": "q=x"}
        assert browser.post(path, fields).status_code == 403
        assert browser.get(path).status_code in {404, 405}
    assert [view.query for view in desk.services.saved.of(READER.name)] == [""]


@pytest.mark.parametrize("name", ["", "  ", "x" * (NAME + 1), "a\u202eb", "a\x1b[2J"])
def test_a_name_that_cannot_be_shown_is_refused(tmp_path, name):
    views = SavedViews(tmp_path)
    with pytest.raises(HttpError):
        views.save("ann", name, "")
    assert views.of("ann") == []


def test_a_name_is_shown_as_text(desk):
    browser = desk.browser(READER)
    fields = {"csrf": browser.csrf(), "name": '"><script>alert(1)</script>', "query": 'q="><b>'}
    assert browser.post("/views/save", fields).status_code == 303
    page = browser.get("/incidents").text
    check_page("hostile", page)
    assert "<script>alert" not in page


def test_limits_are_each_persons_own(tmp_path):
    views = SavedViews(tmp_path)
    for number in range(OF_A_PERSON):
        views.save("ann", f"view {number}", "")
    with pytest.raises(HttpError, match="20 views"):
        views.save("ann", "one more", "")
    with pytest.raises(HttpError, match="too long"):
        views.save("bob", "long", "q=" + "x" * 1_100)
    views.save("ann", "view 3", "q=changed")
    views.save("bob", "first", "")
    assert len(views.of("ann")) == OF_A_PERSON
    assert len(SavedViews(tmp_path).of("bob")) == 1


def test_views_outlive_a_rebuilt_index(tmp_path):
    first = indexed(tmp_path, [])
    SavedViews(first.path.parent).save("ann", "Night shift", "severity=high")
    first.close()
    first.path.unlink()
    second = indexed(tmp_path, [])
    second.close()
    assert [savedview.name for savedview in SavedViews(second.path.parent).of("ann")] == [
        "Night shift"
    ]


def test_a_damaged_file_loses_the_views_and_no_page(desk):
    path = desk.services.index.path.parent / "saved.sqlite"
    path.write_bytes(b"no database, but longer than a header" * 100)
    browser = desk.browser(READER)
    assert browser.get("/incidents").status_code == 200
    with pytest.raises(TidewatchError, match="not saved"):
        desk.services.saved.save(READER.name, "x", "")
