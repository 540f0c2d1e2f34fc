"""Requirements are read as pip reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pip_requirements_parser import RequirementsFile

from agents.checks.packages.requirements import (
    LINES_LIMIT,
    read_line,
    read_lines,
    read_requirements,
    requirement_name,
)
from agents.checks.packages.requirements_text import decode_requirements
from tests.agents.checks.packages.pip_oracle import read_cases
from tests.each import each

H = "a" * 64
CASES = [
    ("numpy", "numpy", None, False),
    ("numpy==1.26.4  # why", "numpy", "1.26.4", True),
    ("numpy == 1.26.4", "numpy", "1.26.4", True),
    ("numpy===1.26.4", "numpy", "1.26.4", True),
    ("numpy==1.*", "numpy", None, False),
    ("numpy>=1.26,<3", "numpy", None, False),
    ("numpy~=1.26", "numpy", None, False),
    ("numpy!=1.0", "numpy", None, False),
    ("numpy (>=1.0)", "numpy", None, False),
    ("numpy==1.0,>=0.5", "numpy", "1.0", True),
    ("requests[security,socks]==2.8.1", "requests", "2.8.1", True),
    ('numpy==1.0 ; python_version < "3.12"', "numpy", "1.0", True),
    ("numpy==1.0;python_version<'3.12'", "numpy", "1.0", True),
    ("torch==2.1.0+cu118", "torch", "2.1.0+cu118", True),
    (f"numpy==1.0 --hash=sha256:{H} --hash=sha256:{'b' * 64}", "numpy", "1.0", True),
    (
        f"numpy==1.0 \\\n    --hash=sha256:{H} \\\n    --hash=sha256:{'b' * 64}",
        "numpy",
        "1.0",
        True,
    ),
    ('numpy==1.0 --config-settings "a=b"', "numpy", "1.0", True),
    ("-e git+https://git.example/a/b.git@main#egg=b", "b", None, False),
    (f"git+ssh://git@git.example/a/b.git@{'0' * 40}#egg=b&subdirectory=x", "b", None, True),
    ("b @ git+https://git.example/a/b.git@v1.0", "b", None, False),
    ("pip @ https://files.example/pip-1.3.1.zip", "pip", "1.3.1", False),
    (f"pip @ https://files.example/pip-1.3.1.zip#sha256={H}", "pip", "1.3.1", True),
    ("https://files.example/foo-1.0-py3-none-any.whl", "foo", "1.0", False),
    ("./wheels/foo-1.0-py3-none-any.whl", "foo", "1.0", True),
    ("foo-1.0-py3-none-any.whl", "foo", "1.0", True),
    ("-e ./src/pkg[dev]", None, None, True),
    ("  numpy==1.0\t", "numpy", "1.0", True),
    ("\ufeffnumpy==1.0", "numpy", "1.0", True),
]


@each(("text", "name", "version", "pinned"), CASES)
def test_requirement_lines(text, name, version, pinned):
    (line,) = read_requirements(decode_requirements(text.encode())).lines
    assert line.error is None
    assert (line.name, line.version, line.pinned) == (name, version, pinned)


@pytest.mark.parametrize(
    # The other reader does not know the newer option of one case.
    "text",
    [case[0] for case in CASES[:24] if "--config-settings" not in case[0]],
)
def test_names_and_hashes_agree_with_an_independent_reader(tmp_path, text):
    file = tmp_path / "requirements.txt"
    file.write_text(text, encoding="utf-8")
    (theirs,) = RequirementsFile.from_file(str(file)).requirements
    (ours,) = read_requirements(text).lines
    assert theirs.name == ours.name
    assert len(theirs.hash_options) == len(ours.hashes) or "#sha256" in text


def _plain(requirements):
    """Return requirements so that only what differs in sense differs."""
    return [
        {
            **requirement,
            "extras": [
                extra.lower().replace("_", "-").replace(".", "-") for extra in requirement["extras"]
            ],
            "specifier": sorted(requirement["specifier"].replace(" ", "").split(",")),
            "marker": (requirement["marker"] or "").replace("'", '"').replace(" ", ""),
        }
        for requirement in requirements
    ]


@each("case", read_cases())
def test_texts_are_read_as_pip_reads_them(case):
    texts = {
        path: decode_requirements(text.encode("latin-1")) for path, text in case["files"].items()
    }
    parsed = read_requirements(texts["requirements.txt"], file="requirements.txt", files=texts)
    expected = case["reads"]
    if expected is None:
        assert any(line.error for line in parsed.lines)
        return
    assert [line.error for line in parsed.lines if line.error] == []
    ours = [
        {
            "name": line.name,
            "extras": line.extras,
            "specifier": line.specifier,
            "marker": line.marker,
            "direct": line.url is not None,
            "editable": line.editable,
            "constraint": line.constraint,
            "hashes": sorted(line.hashes),
        }
        for line in parsed.lines
        if line.is_requirement
    ]
    for our, theirs in zip(ours, expected, strict=True):
        if theirs["name"] is None:
            # The name of a source archive, which pip takes from its metadata only.
            theirs["name"] = our["name"]
    assert _plain(ours) == _plain(expected)


@pytest.mark.parametrize(
    "text",
    [
        "numpy; " + "(" * 3000 + "os_name == 'x'" + ")" * 3000,
        "numpy" + " " * 60_000 + "x#y",
        "numpy[" + "[" * 60_000,
        "numpy==1" + ",==1" * 15_000,
        "numpy --hash=sha256:" + "a" * 60_000,
        "-e " + "'" * 60_001,
        "--" + "a" * 60_000,
    ],
    ids=["parentheses", "spaces", "brackets", "specifiers", "digest", "quotes", "option"],
)
def test_hostile_lines_are_read_or_refused(text):
    (line,) = read_requirements(text).lines
    assert line.error is not None or line.name == "numpy"


def test_the_lines_of_an_event_may_be_raw():
    lines = read_lines(
        [
            "numpy==1.0  # why",
            f"torch==2.0 \\\n    --hash=sha256:{H}",
            "# nothing",
            "-i https://a.example/s --extra-index-url https://b.example/s",
            "scipy==1.1\npandas==2.2",
        ]
    )
    assert [line.error for line in lines if line.error] == []
    assert [line.name or line.option for line in lines] == [
        "numpy",
        "torch",
        "index-url",
        "extra-index-url",
        "scipy",
        "pandas",
    ]
    assert lines[1].hashes == (f"sha256:{H}",)


def test_a_weak_hash_is_refused_and_still_reported():
    line = read_line("numpy==1.0 --hash=md5:0123456789abcdef0123456789abcdef")
    assert line.error
    assert (line.name, line.hashes) == ("numpy", ("md5:0123456789abcdef0123456789abcdef",))


@each(
    ("text", "option", "value"),
    [
        ("--index-url https://index.example/simple", "index-url", "https://index.example/simple"),
        ("-i https://index.example/simple", "index-url", "https://index.example/simple"),
        ("--extra-index-url=https://x.example/s", "extra-index-url", "https://x.example/s"),
        ("-r other.txt", "requirement", "other.txt"),
        ("-rother.txt", "requirement", "other.txt"),
        ("-c constraints.txt", "constraint", "constraints.txt"),
        ("--require-hashes", "require-hashes", None),
        ("--no-binary :all:", "no-binary", ":all:"),
        ("--trusted-host x.example", "trusted-host", "x.example"),
    ],
)
def test_option_lines(text, option, value):
    line = read_line(text)
    assert (line.option, line.value, line.is_requirement) == (option, value, False)


def test_several_options_on_a_line_are_each_read():
    parsed = read_requirements("-i https://a.example/s --extra-index-url https://b.example/s")
    assert [line.option for line in parsed.lines] == ["index-url", "extra-index-url"]


@each(
    "text",
    [
        "two words",
        "--bogus",
        "numpy==1.0 --hash=x",
        "-e",
        "==1",
        "numpy==1.x",
        "numpy --hash=md5:0",
    ],
)
def test_lines_that_pip_refuses_say_why(text):
    assert read_line(text).error


def test_nested_files_are_read_once_where_given():
    parsed = read_requirements(
        "-r sub/other.txt\n-c limits.txt\nnumpy==1.0\n-r absent.txt\n",
        file="requirements.txt",
        files={"sub/other.txt": "-r ../requirements.txt\nscipy==1.1\n", "limits.txt": "pandas<3"},
    )
    names = {line.name: line.constraint for line in parsed.lines if line.is_requirement}
    assert names == {"scipy": False, "pandas": True, "numpy": False}
    assert "absent.txt" in parsed.missing_files


@pytest.mark.slow
def test_a_million_lines_cost_a_bounded_time_and_say_so():
    parsed = read_requirements("numpy==1.0\n" * 1_000_000)
    assert parsed.cut
    assert len(parsed.lines) == LINES_LIMIT


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_read(encoding):
    (line,) = read_requirements(decode_requirements("numpy==1.0\n".encode(encoding))).lines
    assert line.name == "numpy"


@given(st.text(max_size=300))
def test_any_text_is_read_without_error(text):
    for line in read_requirements(text).lines:
        assert line.error is not None or line.option is not None or line.text


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded(raw):
    assert isinstance(decode_requirements(raw), str)


@given(st.text(max_size=60))
def test_names_of_metadata_are_read_without_error(text):
    assert requirement_name(text) == requirement_name(text).lower()
