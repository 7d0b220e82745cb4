"""Configuration of Sphinx; the pages are beside it."""

import builtins
import sys
from importlib.metadata import version as installed_version

from docutils.nodes import Element, TextElement
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

project = "queuectl"
author = "the queuectl developers"
copyright = "2026, the queuectl developers"
release = installed_version("queuectl")
version = ".".join(release.split(".")[:2])

# intersphinx is left out on purpose: a build must work, and mean the same, without
# a network.
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]

html_theme = "furo"
html_title = f"queuectl {release}"

exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

napoleon_numpy_docstring = False
napoleon_use_ivar = True

nitpicky = True
nitpick_ignore = [
    # Builtins have no page here.
    (role, name)
    for name in dir(builtins)
    for role in ("py:class", "py:exc")
]
nitpick_ignore_regex = [
    # Nor has the standard library, nor have other projects.
    (r"py:.*", rf"({'|'.join(sys.stdlib_module_names)})(\..+)?"),
    (r"py:.*", r"(aiosqlite|anyio|msgspec|typer)(\..+)?"),
    # Nor have the protocols behind the public names; the test kit has what fits them.
    (r"py:class", r"(queuectl\.engine\.(runtime|store)\..+\.)?(Clock|Runner|JobStore)"),
]


def setup(app: Sphinx) -> None:
    """Connect what follows."""
    app.connect("missing-reference", find_public_name)
    # Before napoleon, which has the usual priority, 500.
    app.connect("autodoc-process-docstring", keep_colon, priority=400)


def keep_colon(
    _app: Sphinx, what: str, _name: str, _value: object, _options: object, lines: list[str]
) -> None:
    """
    Keep napoleon from taking a property's first words for its type.

    It looks for ``type: description`` in the first line, which is a comment then.
    """
    if what == "property":
        lines[:0] = ["..", ""]


def find_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: TextElement
) -> Element | None:
    """
    Look for a name of the engine where it is documented: in the package itself.

    Annotations name a class by the module that defines it.
    """
    defined_in, _, name = str(node["reftarget"]).rpartition(".")

    if node["refdomain"] != "py" or not defined_in.startswith("queuectl.engine"):
        return None

    return env.domains.python_domain.resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], f"queuectl.{name}", node, text
    )
