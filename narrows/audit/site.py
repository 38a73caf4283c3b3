"""The pages of the data docs as they are on disk: complete in themselves, and an index that lists the audits.

Great Expectations writes pages that load styles, scripts and a counted picture from seven other hosts; without them they
are bare, and the index is empty. Here the pages get a style of their own, and nothing that is loaded or run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

INDEX_LENGTH = 100
"""Audits listed on the first page, the latest first; older pages stay on disk."""
OUTSIDE = re.compile(r"<link\b[^>]*\bhref=\"https?:[^>]*>|<script\b.*?</script>", re.DOTALL)
PICTURE = re.compile(r'src="https?:[^"]*"')
BACKGROUND = re.compile(r"url\(['\"]?https?:[^)]*\)")
LOADED = re.compile(r"<(?:link|script|img)\b[^>]*?(?:href|src)=\"https?:|url\(['\"]?https?:")
"""What makes a browser ask another host."""
STYLE = """
:root{color-scheme:light}body{margin:0;font:15px/1.5 system-ui,sans-serif;color:#212529;background:#fff}
a{color:#0b5ed7;text-decoration:none}a:hover{text-decoration:underline}h4,h5,h6,p{margin:0 0 .5rem}ul{padding-left:1.2rem}
nav.navbar{display:flex;align-items:center;border-bottom:1px solid #dee2e6;padding:0 1.5rem;position:sticky;top:0;background:#fff;z-index:9}
nav.navbar nav{display:flex;align-items:center;gap:1rem}.breadcrumb{display:flex;gap:.6rem;list-style:none;padding:0;margin:0}
.breadcrumb li+li::before{content:"/ ";color:#6c757d}.container-fluid{padding:0 1rem}.pt-4{padding-top:1.5rem}.pb-4{padding-bottom:1.5rem}
.container-fluid>.row{display:flex;flex-wrap:wrap;gap:1.5rem}.row>.col-md-2{flex:0 0 15rem}.row>.col-md-10{flex:1 1 40rem;min-width:0}
.ge-section .row{display:block}.ge-section{padding-bottom:.5rem;margin-bottom:1rem}.alert{padding:.6rem 1rem;background:#e9ecef;border-radius:.25rem;margin:.5rem 0}
.card{border:1px solid #dee2e6;border-radius:.25rem;margin-bottom:1rem}.card-header{background:#f1f3f5;padding:.5rem}.card-body{padding:.75rem}
.nav-pills{list-style:none;padding:0;margin:0}.nav-link{display:block;padding:.2rem .5rem}.btn{cursor:pointer;margin-right:.75rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{padding:.3rem .6rem;border-top:1px solid #dee2e6;text-align:left;vertical-align:top}
.table-responsive{overflow-x:auto}.badge{background:#e9ecef;border-radius:.25rem;padding:0 .4rem;font-size:.85em}.text-success{color:#146c43}
.text-danger{color:#b02a37}.text-warning{color:#997404}i.fas{font-style:normal}.fa-check-circle::before{content:"\\2713"}.fa-times::before{content:"\\2717"}
.fa-exclamation-triangle::before{content:"!"}.cooltip .top{display:none}footer,.popover,.modal{display:none}
body:has(#option2:checked) :has(>.hide-succeeded-validation-target-child){display:none}
@media(max-width:60rem){.row>.col-md-2{flex-basis:100%}.sticky{position:static!important}}
"""
INDEX = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data docs</title><style>{style}main{{max-width:75rem;margin:0 auto;padding:1rem 1.5rem}}</style></head>
<body><main><h4>Data docs</h4><p>One page for each audit, the latest first. Contracts:
{suites}</p><div class="table-responsive"><table>
<thead><tr><th>Table</th><th>As of</th><th>Contract</th><th>Expectations</th><th>Version</th><th>Audited (UTC)</th></tr></thead>
<tbody>
{rows}
</tbody></table></div></main></body></html>
"""


@contextmanager
def alone(docs: Path) -> Iterator[None]:
    """Hold the site, so that two rooms audited at the same time both appear in its index."""
    from filelock import FileLock

    docs.mkdir(parents=True, exist_ok=True)
    with FileLock(docs / ".lock", fallback_to_soft=False):  # the kernel's: it goes when the process is killed
        yield


def complete(docs: Path, *pages: Path) -> None:
    """Make pages that Great Expectations wrote complete in themselves, and write the index; hold the site meanwhile.

    A page may be missing: it writes none where rendering fails, nor of a version whose digits are all decimal.
    """
    for page in filter(Path.exists, pages):
        text = page.read_text(encoding="utf-8")
        logo = os.path.relpath(docs / "static" / "images" / "logo-long.png", page.parent)
        text = BACKGROUND.sub("none", PICTURE.sub(f'src="{Path(logo).as_posix()}"', OUTSIDE.sub("", text)))
        _write(page, text.replace("</head>", f"<style>{STYLE}</style></head>", 1))
    _write(docs / "index.html", _index(docs))


def complete_older(docs: Path) -> None:
    """The same for the pages of a site that an earlier version wrote."""
    if not (docs / "index.html").exists():
        return
    with alone(docs):
        pages = [page for page in docs.glob("*/**/*.html") if LOADED.search(page.read_text(encoding="utf-8"))]
        if pages or LOADED.search((docs / "index.html").read_text(encoding="utf-8")):
            complete(docs, *pages)


def _index(docs: Path) -> str:
    results = sorted((docs / "results").glob("*/*/*/*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    rows = "\n".join(_row(docs, file) for file in results[:INDEX_LENGTH])
    suites = sorted(file.stem for file in (docs / "expectations").glob("*.html"))
    links = ", ".join(f'<a href="expectations/{escape(name)}.html">{escape(name)}</a>' for name in suites)
    return INDEX.format(style=STYLE, suites=links, rows=rows)


def _row(docs: Path, file: Path) -> str:
    """An audit in the index."""
    result = json.loads(file.read_text(encoding="utf-8"))
    counts, meta = result["statistics"], result["meta"]
    page = Path("validations", file.relative_to(docs / "results")).with_suffix(".html").as_posix()
    at = re.sub(
        r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d).*", r"\1-\2-\3 \4:\5:\6", meta["batch_markers"]["ge_load_time"]
    )
    held = '<td class="text-success">held</td>' if result["success"] else '<td class="text-danger">broken</td>'
    cells = (meta["run_id"]["run_time"][:16].replace("T00:00", ""), f"{counts['successful_expectations']} of "
             f"{counts['evaluated_expectations']}", meta["run_id"]["run_name"], at)  # fmt: skip
    asof, expectations, version, audited = (f"<td>{escape(cell)}</td>" for cell in cells)
    suite = escape(result["suite_name"])
    name = f'<td><a href="{escape(page)}">{suite}</a></td>' if (docs / page).exists() else f"<td>{suite}</td>"
    return f"<tr>{name}{asof}{held}{expectations}{version}{audited}</tr>"


def _write(file: Path, text: str) -> None:
    """Replace a page in one step: somebody may be reading it."""
    part = file.with_name(f".{file.name}")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
