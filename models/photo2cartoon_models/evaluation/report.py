"""The report as one HTML file that needs nothing beside it."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from photo2cartoon_models.files import write_file

TEMPLATE = Path(__file__).with_name("report.html")


def write_html(path: Path, report: dict[str, Any], sheet: Path) -> None:
    """Write `report`, as `evaluate` makes it, with the picture at `sheet` inside."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined
    )
    picture = base64.b64encode(sheet.read_bytes()).decode()
    page = environment.get_template(TEMPLATE.name).render(report, sheet=picture)
    write_file(path, page.encode())
