"""How Sphinx makes the site of ``docs/``: ``make docs`` calls it, with warnings as errors.

Every link inside is checked, anchors too; none that leads outside is fetched. No page is written
here: all are Markdown beside this file, and read well without Sphinx.
"""

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from smsd import __version__

project = "smsd"
author = "the smsd contributors"
version = release = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 4

# What is copied from an example is what is typed, without prompts and answers.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "smsd"
html_copy_source = False
html_show_copyright = False


def setup(app: Sphinx) -> None:
    app.add_lexer("mermaid", TextLexer)
