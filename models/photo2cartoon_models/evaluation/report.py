"""The report as one HTML file that needs nothing beside it."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from photo2cartoon_models.files import write_file

TEMPLATE = Path(__file__).with_name("report.html")


def write_html(path: Path, report: dict[str, Any], sheets: list[Path]) -> None:
    """Write `report`, as `evaluate` makes it, with the pictures `sheets` inside."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined
    )
    pictures = [base64.b64encode(sheet.read_bytes()).decode() for sheet in sheets]
    page = environment.get_template(TEMPLATE.name).render(report, sheets=pictures)
    write_file(path, page.encode())
