from __future__ import annotations

from pathlib import Path

import pytest

from gamaml.errors import ConfigError
from gamaml.slurm import site
from gamaml.slurm.site import Site

SITES = Path(__file__).parents[2] / "jobscripts" / "sites"


def write(folder: Path, text: str, name: str = "here") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.env"
    path.write_text(text)
    return path


def test_a_site_file_is_read_as_a_shell_would(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# a comment\n\nSITE_LAUNCH='srun --mpi=pmi2 \"--label=a b\"'\nSITE_PARTITION=big # another\n"
        "SITE_CORES_PER_NODE=32\nSITE_MODULES=\"one two/3\"\nTMPDIR='/local disk'\n",
    )
    assert site.read(path) == Site(
        source=str(path),
        launch=("srun", "--mpi=pmi2", "--label=a b"),
        partition="big",
        modules=("one", "two/3"),
        cores_per_node=32,
        environment={"TMPDIR": "/local disk"},
    )


def test_the_generic_site_names_every_fact_and_knows_none() -> None:
    path = SITES / "generic.env"
    assert site.read(path) == Site(source=str(path))
    text = path.read_text()
    names = [f"SITE_{name.upper()}=" for name in Site.__dataclass_fields__ if name not in ("source", "environment")]
    assert [name for name in names if f"\n{name}" not in text] == []


@pytest.mark.parametrize("path", sorted(SITES.glob("*.env")), ids=lambda path: path.stem)
def test_checked_in_sites_can_be_read_and_name_no_account(path: Path) -> None:
    assert site.read(path).account == ""


def test_a_name_is_looked_up_in_the_folders_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write(first, "SITE_PARTITION=a\n", "both")
    write(second, "SITE_PARTITION=b\n", "both")
    write(second, "SITE_PARTITION=c\n", "own")
    folders = [tmp_path / "none", first, second]
    assert site.find("both", folders).partition == "a"
    assert site.find("own", folders).partition == "c"
    assert site.find(str(second / "both.env"), folders).partition == "b"
    with pytest.raises(
        ConfigError, match=r"--site 'owm': expected owm\.env in .*; did you mean 'own'\? known: both, own"
    ):
        site.find("owm", folders)


MISTAKES = {
    "unknown name": ("SITE_PARTITON=a", "SITE_PARTITON: unknown name; did you mean 'SITE_PARTITION'?"),
    "no assignment": ("module load x", "expected NAME=VALUE, got 'module load x'"),
    "blanks without quotes": ("SITE_LAUNCH=srun --mpi=pmi2", "put values with blanks in quotes"),
    "open quotes": ("A='b", "expected NAME=VALUE, got: No closing quotation"),
    "a command": ("A=$(id)", "expected a plain value, got '$(id)'; site files are not run by a shell"),
    "a variable": ('A="$HOME/x"', "expected a plain value"),
    "no number": ("SITE_CORES_PER_NODE=many", "SITE_CORES_PER_NODE='many': expected a whole number above 0"),
    "twice": ("A=1\nA=2", "expected A once, got it twice"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place(mistake: str, tmp_path: Path) -> None:
    text, message = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        site.read(write(tmp_path, text))
    assert message in str(caught.value)
    assert "here.env" in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a readable file, got: .*No such file"):
        site.find(str(tmp_path / "none.env"), [])
