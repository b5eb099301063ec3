"""The pages of a run, for people: rendered here, live where there is a script, whole where there is none.

site        what every page shares: templates, menu, the run
routes/     the paths, one file a section; thin
pages/      what each page says: pure read models
templates/  HTML; everything is escaped, an unknown name is an error
static/     one style sheet, a little JavaScript, uPlot (VENDOR.md)
curves      every test over all that was tested; drawing: as SVG
layered     where the models of a family stand; family_svg: as SVG
live        server-sent events
names       text from strangers, fit for a page; words: numbers, sizes, times
digits      whole numbers from strangers
headers     what goes out with every page: policy, caching, compression
refusals    pages for what cannot be shown
operator/   who may order something, and what was ordered

Knows neither torch nor ray, as all of the process that talks to strangers. A new section is a file in
``pages``, one in ``routes``, a template, a line in :func:`add_pages` and an entry in ``site.MENU``.
"""

from fastapi import FastAPI

from coordinator.web.operator.sessions import Sessions
from coordinator.web.refusals import cause_of, refusal_of, refuse, wants_page
from coordinator.web.routes.contributors import add_contributor_pages
from coordinator.web.routes.health import add_health_pages
from coordinator.web.routes.lineage import add_lineage_pages
from coordinator.web.routes.operator import add_operator_pages
from coordinator.web.routes.releases import add_release_pages
from coordinator.web.routes.rounds import add_round_pages
from coordinator.web.routes.run import add_run_pages
from coordinator.web.routes.static import add_static_files
from coordinator.web.site import Site

__all__ = ["Sessions", "Site", "add_pages", "cause_of", "refusal_of", "refuse", "wants_page"]


def add_pages(app: FastAPI, site: Site, sessions: Sessions) -> None:
    """Add all pages to an application. The menu has what the application answers when the first page is made."""
    add_static_files(app)
    add_run_pages(app, site)
    add_release_pages(app, site)
    add_round_pages(app, site)
    add_contributor_pages(app, site)
    add_lineage_pages(app, site)
    add_health_pages(app, site)
    add_operator_pages(app, site, sessions)
    site.paths.update(getattr(route, "path", "") for route in app.routes)
