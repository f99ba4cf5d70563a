"""How Sphinx makes the site of ``docs/``: ``make docs`` calls it, with warnings as errors.

Every link inside is checked, anchors too; none that leads outside is fetched. No page is written
here: all are Markdown beside this file, and read well without Sphinx.
"""

import subprocess
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from smsd import __version__

project = "smsd"
author = "the smsd contributors"
version = release = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
# The pieces of news are read by the changelog.
exclude_patterns = ["static", "news"]
nitpicky = True

myst_heading_anchors = 4

# What is copied from an example is what is typed, without prompts and answers.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "smsd"
html_copy_source = False
html_show_copyright = False
html_favicon = "../smsd/rest/static/favicon.svg"
html_static_path = ["static"]
html_css_files = ["smsd.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6b53", "color-brand-content": "#0b6b53"},
    "dark_css_variables": {"color-brand-primary": "#58d3ab", "color-brand-content": "#58d3ab"},
}

TOWNCRIER = ("towncrier", "build", "--draft", "--version", "Not yet released", "--date", "")
NEWS = "<!-- towncrier release notes start -->\n"


def with_news(app: Sphinx, page: str, source: list[str]) -> None:
    """The changelog begins with what is in ``news/``; a file that is no news is an error."""
    if page == "changelog":
        source[0] = source[0].replace(NEWS, NEWS + told())


def told() -> str:
    """What a release would add to the changelog now."""
    command = [sys.executable, "-m", *TOWNCRIER]
    ran = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    if ran.returncode:
        logging.getLogger(__name__).warning(ran.stderr)
    return ran.stdout.replace(" ()", "")


def setup(app: Sphinx) -> None:
    app.connect("source-read", with_news)
