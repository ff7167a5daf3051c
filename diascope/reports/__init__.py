"""How do people see it? Each page is one HTML file that needs no script and loads nothing from elsewhere."""

from diascope.reports.candidate import candidate_page
from diascope.reports.card import card_page
from diascope.reports.data import data_page
from diascope.reports.evaluation import evaluation_page
from diascope.reports.exploration import exploration_page
from diascope.reports.features import features_page
from diascope.reports.groups import groups_page
from diascope.reports.inference import inference_page
from diascope.reports.model import backbone_page, classifier_page
from diascope.reports.report import report_page
from diascope.reports.sweep import sweep_page

__all__ = [
    "backbone_page",
    "candidate_page",
    "card_page",
    "classifier_page",
    "data_page",
    "evaluation_page",
    "exploration_page",
    "features_page",
    "groups_page",
    "inference_page",
    "report_page",
    "sweep_page",
]
