"""
The workshop: every check of queuectl, in one file.

``nox`` alone is what CI runs. ``nox -s tests-3.12 -- -k backoff`` hands what follows
the two dashes to the tool.
"""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import nox

nox.needs_version = ">=2026.10.20"  # the one that this file was tried with

PYPROJECT = nox.project.load_toml()
PYTHONS = nox.project.python_versions(PYPROJECT)

# Coverage is measured on the oldest Python: the one that everybody can run.
COVERAGE_PYTHON = PYTHONS[0]

PACKAGE = Path("queuectl")

# What the program is made of: code, statements, and the dashboard's pages.
CARRIED = {".css", ".html", ".js", ".py", ".sql", ".svg"}
TYPED = ["queuectl", "tests", "benchmarks", "docs", "examples", "noxfile.py"]

nox.options.sessions = ["lint", "types", "tests", "docs", "build"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

# A machine with one Python runs what it can and says what it skipped. CI is such a
# machine too, unless it has them all.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

# Coverage is measured where code is met from inside; it makes each process that is
# started 100 ms dearer, and on every Python. What whole processes do, the program
# prints and the pages say is tested with one: the oldest. A folder that is in none of
# these is an error, below.
ENGINE_TESTS = [
    "tests/unit",
    "tests/contract",
    "tests/integration",
    "tests/migrations",
]
DASHBOARD_TESTS = ["tests/dashboard", "tests/metrics"]
# A Python between the oldest and the newest is not the first to break what these leave out.
QUICK_TESTS = ["tests/unit", "tests/contract", "tests/migrations"]
PROCESS_TESTS = ["tests/acceptance", "tests/typing"]
PROGRAM_TESTS = ["tests/browser", "tests/cli", "tests/docs", "tests/examples"]
CHAOS_TESTS = ["tests/chaos"]

# What is left to one at its end goes to the other: some tests take half a minute.
BOTH_CORES = ["-n2", "--dist=worksteal"]

# Competitors that are no Python packages: the program, and Debian's package.
COMPETITORS = {"tsp": "task-spooler", "nq": "nq", "parallel": "parallel"}

# Browsers that the pages can be tested with, where one is there.
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]

TEST_ENVIRONMENT = {
    # The installed package is tested, not the checkout that happens to be the
    # working directory: Python does not look there.
    "PYTHONSAFEPATH": "1",
    # Tests start many commands. Without cached bytecode each takes about twice as long.
    "PYTHONDONTWRITEBYTECODE": None,
}

# The same, with the checkout: tests and benchmarks are imported as packages from it.
FROM_CHECKOUT = {**TEST_ENVIRONMENT, "PYTHONSAFEPATH": None}


def find_pythons() -> None:
    """
    Put Pythons that pyenv has installed, but not switched on, on the search path.

    pyenv's shim of such a version can be found, and fails when it is run.
    """
    versions = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"

    for python in PYTHONS:
        if not _runs(f"python{python}"):
            found = sorted(versions.glob(f"{python}.*/bin/python{python}"), key=_patch_number)

            if found:
                os.environ["PATH"] = f"{found[-1].parent}{os.pathsep}{os.environ['PATH']}"


def _runs(program: str) -> bool:
    path = shutil.which(program)

    return path is not None and (
        subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0
    )


def _patch_number(python: Path) -> int:
    """Read 1 from ``…/versions/3.12.1/bin/python3.12``; a pre-release comes first."""
    number = python.parent.parent.name.split(".")[2]

    return int(number) if number.isdecimal() else -1


find_pythons()

# As pip does: a company's own certificates are known to the system, and not to uv.
os.environ.setdefault("UV_SYSTEM_CERTS", "1")

forgotten = {str(path.parent) for path in Path("tests").glob("*/test_*.py")} - {
    *ENGINE_TESTS,
    *DASHBOARD_TESTS,
    *PROCESS_TESTS,
    *PROGRAM_TESTS,
    *CHAOS_TESTS,
}

if forgotten:
    raise SystemExit(f"no session runs {', '.join(sorted(forgotten))}")

if not any(_runs(f"python{python}") for python in PYTHONS):
    # Else every session of tests is skipped, and nox is content.
    raise SystemExit(f"none of Python {', '.join(PYTHONS)} is installed")


def install(session: nox.Session, *groups: str, package: bool = True) -> None:
    """Install dependency groups, and the package as its users get it: built, not linked."""
    if package:
        session.install(".")

    session.install(*nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, format, import rules and spelling."""
    install(session, "lint", package=False)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """Check that everything fits together, and that what is public is typed."""
    install(session, "types")
    session.run("mypy", *TYPED)
    session.run("pyright", "--ignoreexternal", "--verifytypes", "queuectl")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests against the installed package."""
    install(session, "test")
    _bring_promtool(session)

    if session.posargs:
        session.run("pytest", *session.posargs, env=TEST_ENVIRONMENT)
        return

    if session.python != COVERAGE_PYTHON:
        chosen = ENGINE_TESTS if session.python == PYTHONS[-1] else QUICK_TESTS
        session.run("pytest", *BOTH_CORES, *chosen, env=TEST_ENVIRONMENT)
        return

    measured = [*ENGINE_TESTS, *DASHBOARD_TESTS]
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *BOTH_CORES, *measured, env=TEST_ENVIRONMENT)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
    _install_browser(session)
    session.run("pytest", *BOTH_CORES, *PROCESS_TESTS, *PROGRAM_TESTS, env=TEST_ENVIRONMENT)
    session.run("pytest", *BOTH_CORES, *CHAOS_TESTS, env=TEST_ENVIRONMENT)


def _bring_promtool(session: nox.Session) -> None:
    """
    Put promtool on the search path, where it can be had; else its tests are skipped with a word.

    The package is unpacked and not installed: that would start a Prometheus.
    """
    if shutil.which("promtool") or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return

    folder = session.cache_dir.resolve() / "prometheus"
    folder.mkdir(exist_ok=True)

    if not (folder / "usr/bin/promtool").exists():
        if os.geteuid() == 0:
            _try(session, "apt-get", "update", "-qq")

        with session.chdir(folder):
            _try(session, "apt-get", "download", "-qq", "prometheus")

            for package in folder.glob("prometheus_*.deb"):
                _try(session, "dpkg-deb", "--extract", str(package), ".")
                package.unlink()

    session.env["PATH"] = f"{session.env.get('PATH') or os.environ['PATH']}:{folder / 'usr/bin'}"


def _try(session: nox.Session, *words: str) -> None:
    """Run a program of the system; what it cannot do is done without."""
    session.run(*words, external=True, success_codes=range(256))


@nox.session
def chaos(session: nox.Session) -> None:
    """Kill, stop and cut at length; write the figures into the documentation."""
    install(session, "test")
    made = Path(session.create_tmp()).resolve()
    runs = {
        "chaos": ["tests.chaos", "--seconds=600", "--jobs=10500", "--kills=1000"],
        "small-disk": ["tests.chaos", "--seconds=60", "--jobs=300", "--kills=20", "--small-disk"],
        "crash-points": ["tests.chaos.crash_points", "--all"],
        "failures": ["tests.chaos.faults", "--all"],
        "cuts": ["tests.chaos.wal", "--all"],
        "defects": ["tests.chaos.prove"],
        "soak": ["tests.chaos.soak", "--jobs=10000"],
    }
    wanted = session.posargs or list(runs)

    for name in wanted:
        # What was found is written down first; then the report fails.
        session.run(
            "python",
            "-m",
            *runs[name],
            f"--json={made / name}.json",
            env=FROM_CHECKOUT,
            success_codes=[0, 1],
        )

    parts = [f"--{name}={made / name}.json" for name in runs]
    page = "docs/explanation/reliability.md"
    session.run("python", "-m", "tests.chaos.report", page, *parts, env=FROM_CHECKOUT)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything beside its yardstick; write the figures into the documentation."""
    install(session, "bench")
    _install_competitors(session)
    made = Path(session.create_tmp()).resolve() / "bench"
    shutil.rmtree(made, ignore_errors=True)
    given = session.posargs or ["--all"]
    # What was measured is written down, also where one program failed.
    session.run(
        "python",
        "-m",
        "benchmarks",
        *given,
        f"--json-dir={made}",
        env=FROM_CHECKOUT,
        success_codes=[0, 1],
    )
    session.run("python", "-m", "benchmarks.report", str(made), env=FROM_CHECKOUT)


def _install_competitors(session: nox.Session) -> None:
    """Install what is missing, where that can be done; the rest is skipped with a word."""
    missing = [package for program, package in COMPETITORS.items() if not shutil.which(program)]

    if not (shutil.which("postgres") or list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))):
        missing.append("postgresql")

    _install_packages(session, missing)


def _install_browser(session: nox.Session) -> None:
    """Get a browser where there is none: Debian's, else playwright's own."""
    if not any(map(_runs, BROWSERS)):
        _install_packages(session, ["chromium"])

    if not any(map(_runs, BROWSERS)):
        # Where it cannot be had, the tests of the pages fail, and say what to do.
        session.run("playwright", "install", "chromium", success_codes=range(256))


def _install_packages(session: nox.Session, packages: Sequence[str]) -> None:
    """Install packages of Debian, where that can be done."""
    if not packages or os.geteuid() != 0 or not shutil.which("apt-get"):
        return

    session.run("apt-get", "update", "-qq", external=True, success_codes=range(256))

    for package in packages:
        # One that is not there does not cost the others.
        session.run(
            "apt-get",
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            package,
            external=True,
            success_codes=range(256),
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )


@nox.session
def soak(session: nox.Session) -> None:
    """Run one worker for ten minutes, see that nothing grows; write down the figures."""
    install(session, "bench")
    made = Path(session.create_tmp()).resolve() / "soak"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    given = session.posargs or ["--jobs=100000", "--seconds=600", "--every=4"]
    figures = made / "figures"
    session.run(
        "python",
        "-m",
        "tests.chaos.soak",
        *given,
        f"--json={figures}",
        env=FROM_CHECKOUT,
        success_codes=[0, 1],
    )
    session.run(
        "python",
        "-m",
        "benchmarks.soak",
        str(figures),
        str(made / "soak.json"),
        env=FROM_CHECKOUT,
    )
    session.run("python", "-m", "benchmarks.report", str(made), env=FROM_CHECKOUT)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a broken reference fails."""
    install(session, "docs")
    # -E reads every page again: a page that did not change keeps its warnings to itself.
    session.run(
        "sphinx-build", "-E", "-n", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html"
    )


@nox.session
def screenshots(session: nox.Session) -> None:
    """Take the pictures of the documentation anew, from the running program."""
    install(session, "screenshots")
    _install_browser(session)
    session.run("python", "docs/screenshots.py", env=TEST_ENVIRONMENT)


@nox.session(reuse_venv=False)
def build(session: nox.Session) -> None:
    """Build what is released, look into the wheel, and start the program from it."""
    session.install("build")
    target = Path(session.create_tmp()) / "dist"
    shutil.rmtree(target, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(target), ".")
    [wheel] = target.glob("*.whl")

    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())

    missing = sorted(
        str(path)
        for path in PACKAGE.rglob("*")
        if (path.suffix in CARRIED or path.name == "py.typed") and str(path) not in carried
    )

    if missing:
        session.error(f"the wheel lacks {', '.join(missing)}")

    session.install(str(wheel))
    session.run("queuectl", "--version")
