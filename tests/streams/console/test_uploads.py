"""Files that wait to be confirmed: whose they are, how many, and for how long."""

from __future__ import annotations

from streams.console.uploads import MOST, SECONDS, Upload, Uploads


def file(text: str) -> Upload:
    return Upload("feed.txt", text.encode())


def test_a_file_is_there_for_its_session_under_its_digest_until_it_is_dropped():
    kept = Uploads()
    digest = kept.keep("ann", file("a"), file("m"))
    assert kept.find("bob", digest) is None
    assert kept.find("ann", "0" * 64) is None
    assert kept.find("ann", digest) == (file("a"), file("m"))
    kept.drop("ann")
    kept.drop("bob")
    assert kept.find("ann", digest) is None


def test_a_session_has_one_file_and_the_oldest_goes_for_a_further_one():
    kept = Uploads()
    first = kept.keep("ann", file("a"))
    second = kept.keep("ann", file("b"))
    assert kept.find("ann", first) is None
    digests = [kept.keep(f"s{number}", file("c")) for number in range(MOST)]
    assert kept.find("ann", second) is None
    assert kept.find("s0", digests[0]) == (file("c"), None)


def test_upload_expires():
    now = [0.0]
    kept = Uploads(lambda: now[0])
    digest = kept.keep("ann", file("a"))
    others = [kept.keep(f"s{number}", file("c")) for number in range(MOST - 1)]
    now[0] = SECONDS
    assert kept.find("ann", digest) is None
    later = kept.keep("bob", file("b"))
    assert kept.find("bob", later) == (file("b"), None)
    assert not any(kept.find(f"s{number}", key) for number, key in enumerate(others))
