"""Projects: where people keep what was made for them.

The switches: `projects`, to look into them and to arrange them, and `project_saving`, to put something in. Both know
the two tables of projects; the second reads what the queue says of a job, and neither knows how anything is made.
"""

from __future__ import annotations

from service.feature import REMOVED, Feature, Menu, owns, reads
from service.features.projects import listing, naming, project, results, saving, texts
from service.telegram.router import Router
from service.text import Text

NEEDS = {
    "projects": owns("id", "user_id", "name", "updated_at"),
    "project_history": owns(
        "id", "project_id", "user_id", "model_id", "inputs", "outputs", "status", "created_at", "job_id"
    ),
}
PROJECTS = Feature(
    name="projects",
    title=Text(en="Projects", ru="Проекты"),
    needs=NEEDS,
    erases={"project_history": REMOVED, "projects": REMOVED},
    menu=Menu(buttons=(texts.PROJECTS_BUTTON,), commands=(("projects", texts.PROJECTS_COMMAND),)),
    router=Router.merge((listing.router, naming.router, project.router, results.router)),
)
SAVING = Feature(
    name="project_saving",
    title=Text(en="Saving results into projects", ru="Сохранение результатов в проекты"),
    needs={
        **NEEDS,
        "generation_jobs": reads("job_id", "user_id", "model_id", "prompt", "outputs", "status", "delivered_at"),
    },
    menu=Menu(under_result=((texts.SAVE_BUTTON, "save"),)),
    router=saving.router,
)

FEATURES = (PROJECTS, SAVING)
