"""Reports of incidents: complete, inert whatever the events contained, and safe to share."""

from __future__ import annotations

import html
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import msgspec
import pytest

from schemas.incidents.states import Action, CommandStatus
from schemas.incidents.views import IncidentDocument, TenantPart
from schemas.intel import IntelKind
from schemas.severity import ExposureLevel, Severity, Tlp
from schemas.sharing import shared_indicators, shared_title
from streams.cli.incident_metrics import figure_rows, incident_metrics
from streams.reports import incident_graph
from streams.reports.impact import attribution, impact
from streams.reports.incident import markdown, to_html
from streams.reports.incident_words import summary
from streams.reports.lessons import (
    failed_controls,
    learned_facts,
    policy_changes,
    rules_to_add,
)
from tests.schemas import examples


def incident(**changes):
    alert = examples.alert()
    fields = {
        "id": "inc-1",
        "root": alert.root,
        "title": alert.title,
        "status": "contained",
        "phase": "containment",
        "score": alert.score,
        "pattern": "pattern",
        "pattern_why": alert.pattern_why,
        "tenants": (TenantPart(tenant="tenant-a", score=alert.score, status="new", systems=1),),
        "tenant_count": 3,
        "findings": alert.findings,
        "systems": alert.systems,
        "system_count": 1,
        "timeline": alert.timeline,
        "commands": alert.commands,
        "tasks": alert.tasks,
        "related": (),
        "publishers": ("publisher:huggingface/acme-labs",),
        "first_seen": examples.TIME,
        "techniques": alert.techniques,
        "ssdf": alert.ssdf,
    }
    document = IncidentDocument(**{**fields, **changes})
    # States are enumerations, as in what is read from the topic.
    return msgspec.convert(msgspec.to_builtins(document), IncidentDocument)


def test_the_report_has_findings_scope_commands_tasks_and_controls():
    text = markdown(incident())
    for part in ("posix.system", "inference-eu-1", "quarantine", "replace", "AML.M0014", "PW.4.4"):
        assert part in text


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "a|b|c", "[x](javascript:y)", "\x1b[31mred", "`x`*_#"]
)
def test_what_an_event_contained_cannot_become_markup(hostile):
    finding = msgspec.structs.replace(examples.finding(), description=hostile, component=hostile)
    page = to_html(incident(title=hostile, findings=(finding,)))
    seen = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):  # noqa: ARG002 -- the parser's signature
            seen.append(tag)

    Tags().feed(page)
    assert not {"script", "a", "img", "em", "code"} & set(seen)
    assert "\x1b" not in page
    text = markdown(incident(findings=(finding,)))
    (row,) = [line for line in text.splitlines() if line.startswith("| TW-EXAMPLE")]
    assert row.replace("\\|", "").count("|") == 7


def test_the_graph_leads_from_the_root_over_what_was_built_to_the_systems():
    system = msgspec.structs.replace(
        examples.alert().systems[0],
        path=("dataset:acme/reviews", "model:registry/b"),
        component="deployment:@tenant-a/api",
    )
    graph = incident_graph.incident_graph(incident(systems=(system,), root="dataset:acme/reviews"))
    text = incident_graph.tree(graph).splitlines()
    assert [line.count("─") > 0 for line in text] == [False, True, True, True]
    assert "inference-eu-1" in text[-1]
    assert incident_graph.dot(graph).count("->") == 3
    picture = ET.fromstring(incident_graph.svg(graph))
    assert len(picture.findall(".//{http://www.w3.org/2000/svg}path")) == 3


def test_a_runbook_quotes_what_is_code_and_shows_no_marks():
    finding = msgspec.structs.replace(examples.finding(), rule_id="TW-PICKLE-DANGEROUS-IMPORT")
    document = incident(findings=(finding,))
    assert '"python -m pickletools FILE"' in html.unescape(to_html(document))
    assert "`" not in to_html(document).partition("Runbook")[2]
    assert '"python -m pickletools FILE"' in markdown(document)


def test_a_graph_with_a_circle_ends():
    graph = incident_graph.Graph(root="a", children={"a": ("b",), "b": ("a",)}, systems={})
    assert incident_graph.tree(graph).splitlines() == ["a", "└─ b", "   └─ a"]


def test_what_is_shared_names_no_tenant_and_nothing_of_its_own():
    private = msgspec.structs.replace(
        examples.finding(), id="fnd-2", indicator_key="pipeline:@tenant-a/train"
    )
    document = incident(findings=(examples.finding(), private))
    shared = shared_indicators(document)
    raw = msgspec.json.encode(shared).decode() + shared_title(document)
    assert len(shared) == 1
    for secret in ("tenant-a", "inference-eu-1", "acme.example", "weights/"):
        assert secret not in raw
    assert shared[0].sightings == 3
    assert shared_indicators(incident(tenant_count=2))[0].sightings is None


@pytest.mark.parametrize(("organisations", "sightings"), [(None, 5), (0, None), (2, None), (3, 3)])
def test_partners_read_how_many_registered_organisations_are_affected(organisations, sightings):
    """Tenants that somebody made up, or those of one organisation, are no more of them."""
    released = incident(tenant_count=5, organisations=organisations, shared=True, released=True)
    assert [shared.sightings for shared in shared_indicators(released)] == [sightings]


def test_proposed_changes_follow_from_what_happened():
    hostile = msgspec.structs.replace(
        examples.finding(), publisher="publisher:huggingface/acme-labs"
    )
    changes = policy_changes(incident(findings=(hostile,)))
    assert "add publisher:huggingface/acme-labs to blocked_sources" in changes
    assert "add format_safety to required_checks" in changes
    assert policy_changes(incident(findings=(hostile,), status="false-positive")) == []


def test_no_advice_blocks_the_publisher_of_what_merely_lacked_a_pin():
    mild = msgspec.structs.replace(
        examples.finding(),
        ioc_type="unpinned_dependency",
        severity=Severity.MEDIUM,
        publisher="publisher:index/requests",
    )
    assert not any(
        "blocked_sources" in policy_change
        for policy_change in policy_changes(incident(findings=(mild,)))
    )


@pytest.mark.parametrize(
    ("exposure", "word"), [("serving", "failed"), ("delivered", "bypassed"), (None, "held")]
)
def test_the_report_says_how_far_each_control_let_it_come(exposure, word):
    systems = tuple(
        msgspec.structs.replace(system, exposure=exposure)
        for system in incident().systems
        if exposure is not None
    )
    ((control, how),) = failed_controls(incident(systems=systems))
    assert "scanned before" in control.name
    assert how.startswith(word)


def test_what_only_intelligence_knew_asks_for_a_rule_of_our_own():
    reported = msgspec.structs.replace(examples.finding(), evidence={"fact": "sha256:x"})
    assert any(
        "no detection rule did" in rule for rule in rules_to_add(incident(findings=(reported,)))
    )
    assert not any("no detection rule did" in rule for rule in rules_to_add(incident()))
    assert any("file:hashes.'SHA-256'" in rule for rule in rules_to_add(incident()))


def test_confirmed_values_are_fed_back_once_it_is_contained_and_names_never_whole():
    (fact,) = learned_facts(incident())
    assert (fact.key, fact.kind) == (f"sha256:{examples.DIGEST}", IntelKind.MALICIOUS)
    assert fact.sources == ("incident:inc-1",)
    assert learned_facts(incident(status="new")) == []
    assert learned_facts(incident(status="false-positive")) == []
    known = msgspec.structs.replace(examples.finding(), evidence={"fact": fact.key})
    whole = msgspec.structs.replace(examples.finding(), indicator_key="pypi:requests")
    one = msgspec.structs.replace(examples.finding(), indicator_key="pypi:acme-ml@1.2")
    (versioned,) = learned_facts(incident(findings=(known, whole, one)))
    assert (versioned.key, versioned.versions) == ("pypi:acme-ml", ("1.2",))


def test_the_report_says_what_failed_and_what_to_do_about_it():
    text = markdown(incident())
    for head in ("Controls", "Proposed policy changes", "Proposed detection rules", "Published"):
        assert head in text
        assert head in to_html(incident())


def test_figures_for_people_name_their_units():
    figures = {"incidents": 5, "contain_count": 2, "contain_mean": 1182253.785, "contain_p95": 20.2}
    assert [text for _, text in figure_rows(figures)] == ["5", "2", "13 days 16 h", "20 s"]


def test_metrics_keep_retro_hunts_apart():
    def timed(seconds, *, retro):
        return incident(
            processing=msgspec.convert(
                {"seconds_to_detect": seconds, "retro": retro}, type(incident().processing)
            )
        )

    figures = incident_metrics(
        [timed(1, retro=False), timed(3, retro=False), timed(900, retro=True)]
    )
    assert figures["detect_first_sight_mean"] == 2
    assert figures["detect_retro_hunt_median"] == 900
    assert json.dumps(figures)


def test_mean_median_and_p95_are_those_of_the_textbook():
    def contained(seconds):
        times = {"seconds_to_contain": seconds}
        return incident(processing=msgspec.convert(times, type(incident().processing)))

    figures = incident_metrics([contained(float(number)) for number in range(1, 21)])
    assert figures["contain_count"] == 20
    assert figures["contain_mean"] == 10.5
    assert figures["contain_median"] == 10.5
    assert figures["contain_p95"] == 19
    assert "detect_first_sight_mean" not in figures
    wrong = [incident(status="false-positive"), incident(status="closed"), incident()]
    assert (incident_metrics(wrong)["false_positives"], incident_metrics(wrong)["closed"]) == (1, 2)


def test_the_impact_is_what_it_was_able_to_do_and_what_it_reached():
    system = msgspec.structs.replace(
        examples.alert().systems[0],
        exposure=ExposureLevel.SERVING,
        identities=("secret-ref:hub-token",),
    )
    made = msgspec.structs.replace(
        system, system="trainer", component="model:hub/tuned", path=("model:hub/base",)
    )
    rows = dict(impact(incident(systems=(system, made))))
    assert "posix.system" in rows["could run the attacker's code when loaded"]
    assert rows["serving"] == "tenant-a / inference-eu-1, tenant-a / trainer"
    assert rows["credentials within reach"] == "secret-ref:hub-token"
    assert rows["derived components"] == "model:hub/tuned"
    gone = msgspec.structs.replace(examples.finding(), active=False)
    assert impact(incident(findings=(gone,), systems=())) == []


def test_attribution_names_publisher_infrastructure_and_similar_cases_with_how_sure_it_is():
    known = msgspec.structs.replace(
        examples.finding(),
        publisher="publisher:huggingface/acme-labs",
        confidence=0.9,
        evidence={"url": "https://drop.evil.example/x"},
    )
    beacon = msgspec.structs.replace(
        known, publisher=None, confidence=0.7, indicator_key="domain:c2.evil.example", evidence={}
    )
    odd = msgspec.structs.replace(known, evidence={"url": "http://[::1"})
    rows = attribution(incident(findings=(known, beacon, odd), related=("inc-2",)))
    assert ("publisher", "publisher:huggingface/acme-labs", "0.90 (2 findings)") in rows
    assert ("infrastructure", "drop.evil.example", "0.90 (1 finding)") in rows
    assert ("infrastructure", "c2.evil.example", "0.70 (1 finding)") in rows
    assert ("similar case", "inc-2", "shares a component, digest or publisher") in rows


def test_a_report_is_a_hand_over_summary_first_then_each_part():
    text = markdown(incident(status="new"))
    heads = [line.lstrip("# ") for line in text.splitlines() if line.startswith("## ")]
    assert heads[:2] == ["Summary", "Scope: 1 system of 3 tenants"]
    for head in ("Timeline", "Containment", "Tasks", "Evidence", "Runbook", "Lessons"):
        assert head in heads
    for label in ("What happened", "To whom", "How it is known", "What was done", "What to do now"):
        assert f"**{label}.** " in text
    assert "TLP:AMBER+STRICT" in text.splitlines()[2]
    assert "TLP:RED" in to_html(incident(), Tlp.RED)
    assert "<svg" in to_html(incident())


def test_a_sentence_keeps_the_case_of_a_file_that_it_begins_with():
    texts = {
        "archive/data.pkl imports posix.system": "archive/data.pkl imports posix.system",
        "setup.py: it runs at install": "setup.py: it runs at install",
        "fetches a payload": "Fetches a payload",
        "fetches: a payload": "Fetches: a payload",
    }
    for description, said in texts.items():
        finding = msgspec.structs.replace(examples.finding(), description=description)
        happened = summary(incident(findings=(finding,), title="malware in a model")).happened
        assert happened.startswith(f"Malware in a model. {said} (")


def test_a_report_has_no_link_to_what_is_hostile():
    finding = msgspec.structs.replace(
        examples.finding(),
        description="fetches https://drop.evil.example/x and asks c2.evil.example",
        evidence={"url": "https://drop.evil.example/x", "host": "c2.evil.example"},
    )
    document = incident(findings=(finding,), title="Beacon to c2.evil.example")
    for text in (markdown(document).replace("\\", ""), to_html(document)):
        assert "https://" not in text.replace("http://www.w3.org", "")
        assert "evil.example" not in text.replace("<wbr>", "")
        assert "evil[.]example" in text.replace("<wbr>", "")


def test_systems_are_counted_once_however_many_components_they_hold():
    system = examples.alert().systems[0]
    more = msgspec.structs.replace(
        system, component="model:hub/tuned", exposure=ExposureLevel.EXECUTED
    )
    ((_, how),) = failed_controls(incident(systems=(system, more)))
    assert "on 1 system before" in how


def test_a_place_that_is_not_known_is_not_shown():
    finding = msgspec.structs.replace(examples.finding(), evidence={"file": None})
    text = markdown(incident(findings=(finding,)))
    assert "None" not in text.replace("None.", "")


def test_names_in_a_graph_are_cut_where_they_are_the_same():
    start, end = "model:@acme/registry.acme.example/" + "x" * 60, "y" * 60
    names = [f"{start}{middle}{end}" for middle in ("-one-", "-two-")]
    shown = incident_graph.shortened([*names, "short"], 78)
    assert shown["short"] == "short"
    assert "-one-" in shown[names[0]]
    assert "-two-" in shown[names[1]]
    many = [f"{'a' * 90}{number:03}{'b' * 90}{number % 7}{'c' * 90}" for number in range(50)]
    cut = incident_graph.shortened(many, 78)
    assert len(set(cut.values())) == len(many), "no two look alike"
    assert max(map(len, cut.values())) <= 78


def test_the_strips_of_a_graph_are_all_of_it_and_cut_through_no_box():
    system = examples.alert().systems[0]
    systems = tuple(msgspec.structs.replace(system, system=f"host-{n}") for n in range(7))
    graph = incident_graph.incident_graph(incident(systems=systems))
    picture = ET.fromstring(incident_graph.svg(graph))
    cut = [ET.fromstring(strip) for strip in incident_graph.strips(graph)]
    views = [list(map(int, strip.attrib["viewBox"].split())) for strip in cut]
    edges = [view[1] for view in views] + [int(picture.attrib["height"])]
    assert [view[1] + view[3] for view in views] == edges[1:], "each begins where one ends"
    assert edges[0] == 0
    tag = "{http://www.w3.org/2000/svg}"
    boxes = [box for box in picture.iter(f"{tag}rect") if "tw-box" in box.attrib["class"]]
    tall = [(int(box.attrib["y"]), int(box.attrib["height"])) for box in boxes]
    assert not [(y, edge) for y, height in tall for edge in edges if y <= edge <= y + height]
    assert len(views) == 9, "the root, the model and seven systems"
    (drawing,) = [group for group in picture.iter(f"{tag}g") if "id" in group.attrib]
    assert {strip[0].attrib["href"] for strip in cut} == {f"#{drawing.attrib['id']}"}


def test_a_graph_has_a_legend_of_what_is_in_it():
    graph = incident_graph.incident_graph(incident())
    picture = incident_graph.svg(graph)
    assert ">serving</text>" in picture
    assert ">staged</text>" not in picture
    assert "prefers-color-scheme:dark" in picture


def test_an_advised_rollback_without_a_version_is_not_said_to_be_approvable():
    command = examples.alert().commands[0]
    advised = msgspec.structs.replace(command, state=CommandStatus.ADVISED)
    rollback = msgspec.structs.replace(
        advised,
        spec=msgspec.structs.replace(
            command.spec, action=Action.ROLLBACK, rollback_version=None, rollback_digest=None
        ),
    )
    by_hand = markdown(incident(commands=(rollback,)))
    assert "no known-good version" in by_hand
    assert "Approve one to have it issued" not in by_hand
    issued = markdown(incident(commands=(advised,)))
    assert "Approve one to have it issued" in issued
    assert "no known-good version" not in issued
