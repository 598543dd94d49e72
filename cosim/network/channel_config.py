"""The channels of a scenario's ``network:`` section: four models by name, each with its own parameters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from cosim.errors import ScenarioError, nearest
from cosim.network.choice import Choice, choice_reader
from cosim.network.fading import FADING
from cosim.network.los import LOS_LAWS, LOS_MODELS
from cosim.network.models import PATHLOSS, NoParams, Params
from cosim.scenario.base import KeyedError, Section, Whole
from cosim.scenario.units import Decibel, Length, Share


class ShadowParams(Params):
    """Common to both shadowing laws.

    ``sigma`` (dB) and ``d_corr`` (m) override the path loss model's; ``site_correlation`` is the share of a term
    that a vehicle's links have in common (0.5 in TR 36.885).
    """

    sigma: Annotated[Decibel, Field(ge=0)] | None = None
    d_corr: Annotated[Length, Field(gt=0)] | None = None
    site_correlation: Share = 0.0


class GudmundsonParams(ShadowParams):
    """``distance: sum`` adds what both ends moved; ``relative`` takes the change of the vector between them."""

    distance: Literal["sum", "relative"] = "sum"


class FieldParams(ShadowParams):
    """``waves`` is the number of cosines."""

    waves: Annotated[Whole, Field(ge=1)] = 64


SHADOWING: dict[str, type[Params]] = {"none": NoParams, "gudmundson": GudmundsonParams, "field": FieldParams}


def _shadow_params(name: str) -> type[Params]:
    if name not in SHADOWING:
        raise ScenarioError(f"unknown shadowing model '{name}'{nearest(name, SHADOWING)}")
    return SHADOWING[name]


PathLossChoice = Annotated[Choice, BeforeValidator(choice_reader(lambda name: PATHLOSS.get(name).params))]
LosChoice = Annotated[Choice, BeforeValidator(choice_reader(lambda name: LOS_MODELS.get(name).params))]
ShadowChoice = Annotated[Choice, BeforeValidator(choice_reader(_shadow_params))]
FadingChoice = Annotated[Choice, BeforeValidator(choice_reader(lambda name: FADING.get(name).params))]


class ChannelConfig(Section):
    """Path loss + LOS state + shadowing + fading, each replaceable alone.

    ``nlosv`` says how the loss of a blocking vehicle is read from TR 37.885; ``blocker_height`` (m) is its roof
    where the LOS model does not know the vehicle.
    """

    pathloss: PathLossChoice
    los: LosChoice = Choice("always", NoParams(), NoParams())
    shadowing: ShadowChoice = Choice("none", NoParams(), NoParams())
    fading: FadingChoice = Choice("none", NoParams(), NoParams())
    nlosv: Literal["normal_db", "lognormal_db"] = "normal_db"
    blocker_height: Annotated[Length, Field(gt=0)] = 1.6

    @model_validator(mode="after")
    def _law_is_known(self) -> ChannelConfig:
        law = getattr(self.los.low, "law", None)
        if law is not None and law not in LOS_LAWS:
            raise KeyedError("los.law", f"unknown LOS probability '{law}'{nearest(law, LOS_LAWS)}")
        model = PATHLOSS.get(self.pathloss.model)
        if self.los.model == "prob" and law is None and model.los_law is None:
            names = ", ".join(LOS_LAWS)
            raise KeyedError(
                "los", f"path loss '{model.name}' has no LOS probability; add law: one of {names}"
            )
        return self
