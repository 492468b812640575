"""What astrolake asks of AWS beside the lake: Batch, Lambda, Athena, SNS, CloudFormation."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astrolake.batch_processing.survey_processor import SurveyProcessor

__all__ = ["SurveyProcessor"]


def __getattr__(name: str) -> Any:
    # The function for uploads imports this package, too, and is to start fast.
    if name == "SurveyProcessor":
        from astrolake.batch_processing.survey_processor import SurveyProcessor

        return SurveyProcessor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
