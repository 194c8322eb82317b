"""Names of parts, their code and what they make."""

from pathlib import Path

import pytest
from own_parts import written

from components.divergences.base import Divergence
from components.parts.code import code_of
from components.parts.loading import IN_MEMORY, UNPACKED, load, pinned
from components.parts.naming import Part, PartError
from components.table import DIVERGENCES, divergence

FORMS = {
    "jsd": "jsd",
    "été:Été": "été:Été",
    " a.b:C ": "a.b:C",
    "a:b(z=1,y=.5)": "a:b(y=0.5, z=1)",
    "a:b()@1f2e": "a:b@1f2e",
    "a:b(x=-0.0)": "a:b(x=0.0)",
    "a:b(x='it', y=None, z=True)@name==1.2+cpu": "a:b(x='it', y=None, z=True)@name==1.2+cpu",
}


@pytest.mark.parametrize("text", FORMS)
def test_a_name_has_one_canonical_form_which_is_read_as_itself(text: str) -> None:
    assert str(Part.read(text)) == FORMS[text] == str(Part.read(FORMS[text]))


@pytest.mark.parametrize(
    "text",
    ["", "a b", "a:", "a:b:c", "a:b(1)", "a:b(x=1", "a:b(x=[1])", "a:b(**x)", "a:b(x=f())", "a:b(x=1e999)", "a:b(x=1)(y=2)"],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(PartError):
        Part.read(text)


@pytest.mark.slow
def test_the_code_of_a_part_is_its_module_and_what_it_imports_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, monkeypatch, "parts_a")
    (tmp_path / "parts_b.py").write_text("import parts_a\n")
    code = code_of("parts_a")
    assert sorted(code.files) == ["parts_a.py", "parts_a_powers.py"]
    assert code.tops == {"parts_a", "parts_a_powers"}
    before = code.digest
    (tmp_path / "parts_b.py").write_text("import parts_a  # changed\n")
    assert code_of("parts_a").digest == before
    helper = tmp_path / "parts_a_powers.py"
    helper.write_text(helper.read_text() + "# changed\n")
    assert code_of("parts_a").digest != before
    assert code_of("numpy.linalg").digest.startswith("numpy==")
    with pytest.raises(PartError, match=r"^nowhere.at.all: no module nowhere is in "):
        code_of("nowhere.at.all")


def test_a_pinned_name_says_which_code_and_leaves_out_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, monkeypatch, "parts_c")
    digest = code_of("parts_c").digest
    assert pinned("parts_c:Alpha(alpha=3)") == f"parts_c:Alpha(alpha=3.0)@{digest}"
    assert pinned("parts_c:Alpha(alpha=2)") == pinned("parts_c:Alpha") == f"parts_c:Alpha@{digest}"
    assert pinned(pinned("parts_c:windows(length=9)")) == f"parts_c:windows(length=9)@{digest}"
    assert divergence(f"parts_c:Alpha(alpha=3.0)@{digest}").alpha == 3.0
    with pytest.raises(PartError, match=r"parts_c:Alpha has no option beta; it has alpha"):
        pinned("parts_c:Alpha(beta=1)")
    with pytest.raises(PartError, match=rf"parts_c:Alpha has changed: its code is {digest} here, and 123456789abc is meant"):
        divergence("parts_c:Alpha@123456789abc")


WRONG = {
    "nowhere:x": r"nowhere:x: there is no module nowhere in ",
    "parts_d:Alpha2": r"parts_d:Alpha2: parts_d has no Alpha2; it has Alpha, ",
    "parts_d:Plain": r"parts_d:Plain must make a components\.divergences\.base\.Divergence, and makes a Plain",
    "parts_d:FDivergence": r"parts_d:FDivergence lacks what .*: conjugate, conjugate_gradient, generator",
    "parts_d:Alpha(gamma=1)": r"could not be made: TypeError: .*gamma",
    "parts_d:np": r"parts_d:np must make a components.*, and makes a module",
    "parts_d_broken:x": r"parts_d_broken:x: the module parts_d_broken cannot be imported: ZeroDivisionError: division by zero",
    "unheard_of": "unheard_of is not known",
    ":gone": "^gone was in the memory of another process",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_used_is_one_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, monkeypatch, "parts_d")
    (tmp_path / "parts_d_broken.py").write_text("1 / 0\n")
    with pytest.raises(PartError, match=WRONG[name]) as caught:
        divergence(name)
    assert "\n" not in str(caught.value)


def test_an_object_in_memory_is_a_part_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(IN_MEMORY, ":mine", divergence("kl"))
    assert load(":mine", DIVERGENCES, Divergence) is divergence("kl")  # type: ignore[type-abstract]


def test_code_that_a_version_carries_is_used_where_it_is_meant_and_no_other_is_disturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, carried = tmp_path / "here", tmp_path / "carried"
    for folder in (here, carried):
        folder.mkdir()
        written(folder, monkeypatch, "parts_e")
    carried_helper = carried / "parts_e_powers.py"
    carried_helper.write_text("def power(base, exponent):\n    return 7 * base\n")
    meant = code_of("parts_e").digest  # the folder that was put first on the path last
    monkeypatch.syspath_prepend(here)
    own = divergence(pinned("parts_e:Alpha"))
    monkeypatch.setitem(UNPACKED, meant, carried)
    other = divergence(f"parts_e:Alpha@{meant}")
    import torch

    s = torch.ones(1)
    assert (own.conjugate_gradient(s).item(), other.conjugate_gradient(s).item()) == (2.0, 14.0)
    import parts_e

    assert isinstance(own, parts_e.Alpha)
    assert not isinstance(other, parts_e.Alpha)


def test_a_module_beside_a_folder_of_its_name_is_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python has it where the folder has no __init__.py."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("parts_f", "parts_f_help"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.csv").write_text("1\n")
    (tmp_path / "parts_f.py").write_text("import parts_f_help\n")
    (tmp_path / "parts_f_help.py").write_text("x = 1\n")
    assert sorted(code_of("parts_f").files) == ["parts_f.py", "parts_f_help.py"]
    (tmp_path / "parts_f_help" / "__init__.py").write_text("x = 2\n")
    assert sorted(code_of("parts_f").files) == ["parts_f.py", "parts_f_help/__init__.py"]


def test_a_linked_part_of_a_package_is_code_and_what_hides_python_s_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "inner.py").write_text("x = 1\n")
    (tmp_path / "parts_g").mkdir()
    (tmp_path / "parts_g" / "__init__.py").write_text("from parts_g.sub import inner\n")
    (tmp_path / "parts_g" / "sub").symlink_to(tmp_path / "real")
    assert "parts_g/sub/inner.py" in code_of("parts_g").files
    (tmp_path / "wave.py").write_text("x = 1\n")
    (tmp_path / "parts_h.py").write_text("import wave\n")
    with pytest.raises(PartError, match=r"^parts_h: wave in .* has the name of a module of Python's own; give it another$"):
        code_of("parts_h")


def test_an_option_that_no_float_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, monkeypatch, "parts_i")
    with pytest.raises(PartError, match="the option alpha is too large a number"):
        pinned(f"parts_i:Alpha(alpha=1{'0' * 400})")
