"""Search images by text constraints, with any vision backbone aligned to CLIP space, on Qdrant.

    import t2c_search as t2c

    photos = t2c.open_collection("photos", store="./photos.t2c", backbone="timm:resnet50.a1_in1k")
    photos.index(["~/Pictures"])
    for hit in photos.search("a dog on a beach", limit=10):
        print(hit.rank, hit.score, hit.path)

``t2c.constraints`` and ``t2c.filters`` are the trees that expressions mean, ``t2c.errors`` what may be raised. Importing the
package imports no model library: the names below load when first used.
"""

from importlib import (
    import_module,  # no other import: `python -m t2c_search` has the working folder first on its path so far
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from t2c_search import constraints as constraints
    from t2c_search import errors as errors
    from t2c_search import filters as filters
    from t2c_search.alignment.aligner import Aligner as Aligner
    from t2c_search.alignment.report import FitReport as FitReport
    from t2c_search.collection import Collection as Collection
    from t2c_search.collection import open_collection as open_collection
    from t2c_search.collection.carried import retained as retained
    from t2c_search.collection.copying import CopyReport as CopyReport
    from t2c_search.collection.explaining.locating import Located as Located
    from t2c_search.collection.fitting import fit as fit
    from t2c_search.collection.in_words.decoders import fit_decoder as fit_decoder
    from t2c_search.collection.in_words.shifting import shift_between as shift_between
    from t2c_search.collection.managing import copy_collection as copy_collection
    from t2c_search.collection.managing import delete_collection as delete_collection
    from t2c_search.collection.managing import list_collections as list_collections
    from t2c_search.collection.managing import rename_collection as rename_collection
    from t2c_search.collection.realigning import RealignReport as RealignReport
    from t2c_search.concepts.atlas.atlas import Atlas as Atlas
    from t2c_search.concepts.atlas.atlas import AtlasCluster as AtlasCluster
    from t2c_search.concepts.atlas.naming import Trait as Trait
    from t2c_search.concepts.audit.findings import Audit as Audit
    from t2c_search.concepts.audit.findings import Finding as Finding
    from t2c_search.concepts.bottleneck.predict import Prediction as Prediction
    from t2c_search.concepts.bottleneck.predict import Predictions as Predictions
    from t2c_search.concepts.describe.folder import DecoderCard as DecoderCard
    from t2c_search.concepts.describe.results import Description as Description
    from t2c_search.concepts.describe.results import Descriptions as Descriptions
    from t2c_search.concepts.describe.results import Word as Word
    from t2c_search.concepts.retained import Retained as Retained
    from t2c_search.concepts.shift.result import AnyShift as AnyShift
    from t2c_search.concepts.shift.result import Shift as Shift
    from t2c_search.concepts.shift.result import ShiftedWord as ShiftedWord
    from t2c_search.concepts.shift.result import ShiftFinding as ShiftFinding
    from t2c_search.concepts.shift.result import ShiftSide as ShiftSide
    from t2c_search.concepts.shift.result import ShownImage as ShownImage
    from t2c_search.concepts.shift.result import Stratum as Stratum
    from t2c_search.concepts.vocabulary import Vocabulary as Vocabulary
    from t2c_search.concepts.zero_shot.judged import Judged as Judged
    from t2c_search.concepts.zero_shot.judged import Reliability as Reliability
    from t2c_search.concepts.zero_shot.judged import RiskCoverage as RiskCoverage
    from t2c_search.concepts.zero_shot.result import ClassFit as ClassFit
    from t2c_search.concepts.zero_shot.result import Classified as Classified
    from t2c_search.errors import AlignerMismatchError as AlignerMismatchError
    from t2c_search.errors import AlignmentError as AlignmentError
    from t2c_search.errors import CollectionDamagedError as CollectionDamagedError
    from t2c_search.errors import CollectionFormatError as CollectionFormatError
    from t2c_search.errors import CollectionNotFoundError as CollectionNotFoundError
    from t2c_search.errors import CollectionReplacedError as CollectionReplacedError
    from t2c_search.errors import EncoderError as EncoderError
    from t2c_search.errors import ExpressionError as ExpressionError
    from t2c_search.errors import ImageError as ImageError
    from t2c_search.errors import StoreAccessError as StoreAccessError
    from t2c_search.errors import StoreError as StoreError
    from t2c_search.errors import StoreFullError as StoreFullError
    from t2c_search.errors import StoreLimitError as StoreLimitError
    from t2c_search.errors import StoreLockedError as StoreLockedError
    from t2c_search.errors import StoreTimeoutError as StoreTimeoutError
    from t2c_search.errors import StoreTooLargeError as StoreTooLargeError
    from t2c_search.errors import StoreUnavailableError as StoreUnavailableError
    from t2c_search.errors import T2CError as T2CError
    from t2c_search.errors import T2CWarning as T2CWarning
    from t2c_search.errors import UnknownEncoderError as UnknownEncoderError
    from t2c_search.errors import UnknownVectorError as UnknownVectorError
    from t2c_search.errors import UsageError as UsageError
    from t2c_search.explain.explanation import Counterfactual as Counterfactual
    from t2c_search.explain.explanation import ExplainedLiteral as ExplainedLiteral
    from t2c_search.explain.explanation import Explanation as Explanation
    from t2c_search.explain.explanation import Explanations as Explanations
    from t2c_search.explain.explanation import OtherAlternative as OtherAlternative
    from t2c_search.explain.explanation import WordShare as WordShare
    from t2c_search.explain.grounding import Contradiction as Contradiction
    from t2c_search.explain.grounding import GroundedWord as GroundedWord
    from t2c_search.explain.grounding import Grounding as Grounding
    from t2c_search.explain.mutual.comparing import ComparedModel as ComparedModel
    from t2c_search.explain.mutual.comparing import Comparison as Comparison
    from t2c_search.explain.mutual.knowledge import Estimate as Estimate
    from t2c_search.explain.mutual.knowledge import ImageKnowledge as ImageKnowledge
    from t2c_search.explain.mutual.knowledge import Knowledge as Knowledge
    from t2c_search.explain.mutual.knowledge import SeenPart as SeenPart
    from t2c_search.explain.mutual.knowledge import Sharing as Sharing
    from t2c_search.explain.pairs import ImageMatch as ImageMatch
    from t2c_search.explain.pairs import RegionWord as RegionWord
    from t2c_search.explain.pairs import RegionWords as RegionWords
    from t2c_search.explain.pairs import TextMatch as TextMatch
    from t2c_search.explain.view import View as View
    from t2c_search.export.files import export_hits as export_hits
    from t2c_search.indexing.report import IndexReport as IndexReport
    from t2c_search.query.execution.duplicates import Duplicate as Duplicate
    from t2c_search.query.execution.duplicates import Duplicates as Duplicates
    from t2c_search.query.language.printer import unparse as unparse
    from t2c_search.query.language.syntax import parse as parse
    from t2c_search.results import Certificate as Certificate
    from t2c_search.results import Contribution as Contribution
    from t2c_search.results import Count as Count
    from t2c_search.results import Facets as Facets
    from t2c_search.results import Hit as Hit
    from t2c_search.results import Mined as Mined
    from t2c_search.results import Plan as Plan
    from t2c_search.results import PlannedBranch as PlannedBranch
    from t2c_search.results import PlannedConstraint as PlannedConstraint
    from t2c_search.results import SearchResult as SearchResult
    from t2c_search.results import StatisticsUsed as StatisticsUsed
    from t2c_search.sources.remarks import Remark as Remark
    from t2c_search.state.bottlenecks import Bottleneck as Bottleneck
    from t2c_search.state.bottlenecks import BottleneckCurve as BottleneckCurve
    from t2c_search.state.concepts import SavedConcept as SavedConcept
    from t2c_search.stores.protocol import Wait as Wait
    from t2c_search.types import Failure as Failure

_NAMES = {
    "alignment.aligner": ("Aligner",),
    "alignment.report": ("FitReport",),
    "collection": ("Collection", "open_collection"),
    "collection.carried": ("retained",),
    "collection.copying": ("CopyReport",),
    "collection.explaining.locating": ("Located",),
    "collection.in_words.decoders": ("fit_decoder",),
    "collection.fitting": ("fit",),
    "collection.managing": ("copy_collection", "delete_collection", "list_collections", "rename_collection"),
    "collection.realigning": ("RealignReport",),
    "concepts.describe.folder": ("DecoderCard",),
    "concepts.describe.results": ("Description", "Descriptions", "Word"),
    "concepts.vocabulary": ("Vocabulary",),
    "concepts.bottleneck.predict": ("Prediction", "Predictions"),
    "concepts.atlas.atlas": ("Atlas", "AtlasCluster"),
    "concepts.atlas.naming": ("Trait",),
    "concepts.retained": ("Retained",),
    "collection.in_words.shifting": ("shift_between",),
    "concepts.shift.result": ("AnyShift", "Shift", "ShiftFinding", "ShiftSide", "ShiftedWord", "ShownImage", "Stratum"),
    "concepts.zero_shot.judged": ("Judged", "Reliability", "RiskCoverage"),
    "concepts.zero_shot.result": ("ClassFit", "Classified"),
    "concepts.audit.findings": ("Audit", "Finding"),
    "errors": (
        "AlignerMismatchError",
        "AlignmentError",
        "CollectionDamagedError",
        "CollectionFormatError",
        "CollectionNotFoundError",
        "CollectionReplacedError",
        "EncoderError",
        "ExpressionError",
        "ImageError",
        "StoreAccessError",
        "StoreError",
        "StoreFullError",
        "StoreLimitError",
        "StoreLockedError",
        "StoreTimeoutError",
        "StoreTooLargeError",
        "StoreUnavailableError",
        "T2CError",
        "T2CWarning",
        "UnknownEncoderError",
        "UnknownVectorError",
        "UsageError",
    ),
    "explain.explanation": (
        "Counterfactual",
        "ExplainedLiteral",
        "Explanation",
        "Explanations",
        "OtherAlternative",
        "WordShare",
    ),
    "explain.grounding": ("Contradiction", "GroundedWord", "Grounding"),
    "explain.mutual.comparing": ("ComparedModel", "Comparison"),
    "explain.mutual.knowledge": ("Estimate", "ImageKnowledge", "Knowledge", "SeenPart", "Sharing"),
    "explain.pairs": ("ImageMatch", "RegionWord", "RegionWords", "TextMatch"),
    "explain.view": ("View",),
    "export.files": ("export_hits",),
    "indexing.report": ("IndexReport",),
    "query.execution.duplicates": ("Duplicate", "Duplicates"),
    "query.language.printer": ("unparse",),
    "query.language.syntax": ("parse",),
    "results": (
        "Certificate",
        "Contribution",
        "Count",
        "Facets",
        "Hit",
        "Mined",
        "Plan",
        "PlannedBranch",
        "PlannedConstraint",
        "SearchResult",
        "StatisticsUsed",
    ),
    "sources.remarks": ("Remark",),
    "state.bottlenecks": ("Bottleneck", "BottleneckCurve"),
    "state.concepts": ("SavedConcept",),
    "stores.protocol": ("Wait",),
    "types": ("Failure",),
}
"""The public names by the module that each comes from."""
_HOMES = {name: f"t2c_search.{module}" for module, names in _NAMES.items() for name in names}
_MODULES = ("constraints", "errors", "filters")

__all__ = sorted([*_HOMES, *_MODULES])


if not TYPE_CHECKING:  # to a type checker, a name that is not above is a mistake

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return import_module(f"t2c_search.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 't2c_search' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
